"""What a worker process does once everything is imported: connects, runs an agent, ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from flowrun.errors import FlowError, StoreError
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings

from .agent import Agent
from .config import WorkerConfig
from .frames import Setup
from .launch import STORE_FAILED
from .slot import ProcessSlot
from .spawn import Spawned

__all__ = ["serve"]

#: after it was told to end, a worker has this long to hand back its work, in seconds
GRACE = 3.0


def serve(first: Spawned) -> int:
    """Runs until told to end; gives the exit code. `first` becomes the first slot's executor."""
    config = sys.stdin.buffer.readline()
    if not config:
        return 0  # whoever started this has nothing to do
    try:
        _run(_serve(WorkerConfig.from_json(config), first))
    except FlowError as error:
        return _tell([error])
    except ExceptionGroup as group:
        expected, others = group.split(FlowError)
        if others is not None:
            raise others from None
        return _tell(_leaves(expected))
    return 0


def _tell(errors: Sequence[BaseException]) -> int:
    """Says why the worker ends; gives its exit code."""
    print(*(f"worker: {error}" for error in errors), sep="\n", file=sys.stderr)
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


async def _serve(known: WorkerConfig, first: Spawned) -> None:
    transport = await NatsTransport.connect(known.url, Settings(env=known.env, ack_wait=known.ack_wait))
    setup = Setup(known.root, known.python)
    slots = [ProcessSlot(setup, first if i == 0 else None) for i in range(known.slots)]
    agent = Agent(
        transport,
        slots,
        worker=f"{known.name}-{os.getpid()}",
        group=known.group,
        queues=known.queues,
        ack_wait=known.ack_wait,
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(0, _end_of_input, loop, stop)
    work = asyncio.ensure_future(agent.run())
    told = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
        # from here on requests are given up, and nats-py logs a traceback when the answer to one comes nevertheless
        logging.getLogger("nats").setLevel(logging.CRITICAL)
        agent.stop()
        await asyncio.wait([work], timeout=GRACE)
        if work.done():
            work.result()
    finally:
        told.cancel()
        work.cancel()  # what could not be handed back in time, as without a server
        await asyncio.gather(work, return_exceptions=True)
        await agent.close()
        await transport.close()


def _end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(0, 1024):
        loop.remove_reader(0)
        stop.set()
