"""What a worker process does once everything is imported: connects, runs an agent, ends cleanly.

SIGTERM, or SIGINT, ends it warmly: it takes nothing new, hands back what has not begun, lets what runs end for `grace`
seconds, and hands the rest back. A second one, SIGQUIT, or the end of its standard input end it coldly: what runs is
handed back at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowrun.connections import ConnectionSettings
from flowrun.deployments.trust import Trust
from flowrun.deployments.trusted_plans import TrustedPlans
from flowrun.errors import FlowError, StoreError
from flowrun.nats.transport import NatsTransport
from flowrun.secrets import Resolver
from flowrun.secrets.asking import answer_questions
from flowrun.settings import Settings

from .agent import Agent
from .code_slot import CodeSlot
from .codes import Codes
from .config import WorkerConfig
from .frames import ExecutorKind, Setup
from .giver import Giver
from .launch import BAD_CONFIG, STORE_FAILED
from .presence import Herald
from .scale import Processors, scale
from .spawn import Spawned, task_environment

__all__ = ["serve"]

log = logging.getLogger("flow.worker")

#: after it was told to end coldly, a worker has this long to hand back its work, in seconds
HAND_BACK = 3.0


def serve(first: Spawned) -> int:
    """Runs until told to end; gives the exit code. `first` becomes the first slot's executor."""
    text = sys.stdin.buffer.readline()
    if not text:
        return 0  # whoever started this has nothing to do
    try:
        config = WorkerConfig.from_json(text)
    except msgspec.DecodeError as error:
        print(f"worker: its configuration cannot be read: {error}", file=sys.stderr)
        return BAD_CONFIG
    _configure_log(config)
    try:
        _run(_Service(config, first).run())
    except FlowError as error:
        return _tell([error])
    except ExceptionGroup as group:
        expected, others = group.split(FlowError)
        if others is not None:
            raise others from None
        return _tell(_leaves(expected))
    return 0


def _configure_log(config: WorkerConfig) -> None:
    if config.log is None:
        logging.basicConfig(format="worker: %(message)s", level=logging.WARNING)
        return
    from flowrun.logs import configure_logs  # structlog; a command line does without it

    configure_logs(config.log, config.log_level, node=config.node or config.name, role="worker")


def _tell(errors: Sequence[BaseException]) -> int:
    """Says why the worker ends; gives its exit code."""
    for error in errors:
        log.error("%s", error)
    return STORE_FAILED if any(isinstance(error, StoreError) for error in errors) else 1


def _leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [] if error is None else [error]


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # absent on Windows
    except ModuleNotFoundError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _slots(config: WorkerConfig, first: Spawned) -> list[CodeSlot]:
    url = "" if "@" in config.url else config.url  # a password is not for tasks

    def setup(kind: ExecutorKind, width: int) -> Setup:
        return Setup(config.root, config.python, kind, width, url, config.env)

    slots = [CodeSlot(setup("process", 1), first if i == 0 else None) for i in range(config.slots)]
    if config.async_slots:
        slots.append(CodeSlot(setup("async", config.async_slots), None if slots else first))
    if config.thread_slots:
        slots.append(CodeSlot(setup("thread", config.thread_slots), None if slots else first))
    return slots


def _cache(config: WorkerConfig) -> Path:
    """Where the node keeps codes and their environments."""
    return Path(os.environ.get("FLOW_CACHE") or Path(config.root) / ".flow" / "cache").absolute()


class _Service:
    """One worker process."""

    def __init__(self, config: WorkerConfig, first: Spawned) -> None:
        self._config, self._first = config, first
        self._told, self._now = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Raises FlowError, alone or in a group."""
        config = self._config
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_reader(0, self._end_of_input, loop)
        settings = Settings(env=config.env, ack_wait=config.ack_wait, durable=config.durable, replicas=config.replicas)
        transport = await NatsTransport.connect(config.url, settings)
        slots = _slots(config, self._first)
        name = f"{config.name}-{os.getpid()}"
        resolver = Resolver.over(transport, config.key_file)
        trusted = TrustedPlans(transport, config.env, Trust(config.trusted)) if config.trusted else None
        codes = Codes(_cache(config), transport.get_blob, task_environment())
        agent = Agent(
            transport, slots, worker=name, group=config.group, queues=config.queues, ack_wait=config.ack_wait,
            trusted=trusted, codes=codes,
            giver=Giver(resolver, ConnectionSettings(transport)),
        )  # fmt: skip
        herald = Herald(transport, config.node or config.name, config.group, settings.presence, agent.pools)
        questions = answer_questions(transport, resolver, config.node or config.name, os.getpid())
        helpers = [asyncio.create_task(herald.run()), asyncio.create_task(questions)]
        if config.least_slots is not None and config.least_slots < config.slots:
            processes = next(pool for pool in agent.pools if pool.kind == "process")
            helpers.append(asyncio.create_task(scale(processes, max(1, config.least_slots), Processors())))
        if config.node:
            from .ahead import Ahead  # a command line's own worker does without it

            helpers.append(asyncio.create_task(Ahead(transport, codes, config.env, Trust(config.trusted)).run()))
        try:
            await self._work(agent, herald)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await agent.close()
            await transport.close()

    async def _work(self, agent: Agent, herald: Herald) -> None:
        """Until the agent ends, by itself or because it was told to."""
        work = asyncio.create_task(agent.run())
        told, now = asyncio.create_task(self._told.wait()), asyncio.create_task(self._now.wait())
        try:
            await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await herald.stop()
                agent.finish()
                await asyncio.wait([work, now], timeout=self._config.grace, return_when=asyncio.FIRST_COMPLETED)
                agent.stop()
                await asyncio.wait([work], timeout=HAND_BACK)
            if work.done():
                work.result()
        finally:
            told.cancel()
            now.cancel()
            work.cancel()  # what could not be handed back in time, as without a server
            await asyncio.gather(work, return_exceptions=True)

    def _signalled(self, number: signal.Signals) -> None:
        if self._told.is_set() or number == signal.SIGQUIT:
            self._now.set()
        self._told.set()

    def _end_of_input(self, loop: asyncio.AbstractEventLoop) -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            self._now.set()
            self._told.set()
