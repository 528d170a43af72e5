"""The supervisor of a node: starts the processes of its roles, watches them, ends them.

SIGTERM and SIGINT end the node warmly: its partitions go to other nodes, its workers take nothing new, finish what they
can within the grace period, and hand back the rest. A second signal, or SIGQUIT, ends it coldly: what runs is handed
back at once. What does not end in time is killed; what it had goes to others when its leases end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

from flowrun.worker.config import WorkerConfig
from flowrun.worker.launch import BAD_CONFIG, launch_worker

from .child import Child
from .config import NodeConfig
from .systemd import tell_systemd

__all__ = ["launch_role", "supervise"]

log = logging.getLogger("flow.node")

#: beyond the grace period, in seconds
_MERCY = 5.0
#: from the cold signal to the kill, in seconds
_COLD = 5.0


async def supervise(config: NodeConfig, beside: Coroutine[Any, Any, None] | None = None) -> int:
    """Runs the node until it is told to end; gives the exit code. `beside`: what it cannot live without; its error ends
    the node."""
    children = [_child(role, config) for role in config.roles]
    loop = asyncio.get_running_loop()
    stop = _Stop(children)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, stop.signalled, number)
    log.info("node %s starts: %s on %s", config.name, ", ".join(config.roles), ", ".join(config.queues))
    tasks = [asyncio.create_task(child.run()) for child in children]
    killer = asyncio.create_task(stop.kill_late(config.grace + _MERCY))
    watched = [asyncio.create_task(beside)] if beside is not None else []
    tell_systemd("READY=1")
    try:
        await asyncio.wait([*tasks, *watched], return_when=asyncio.FIRST_COMPLETED)
        if not stop.asked.is_set():  # the node does not live by halves
            log.error("a part of the node cannot go on: the node ends")
            stop.end(cold=any(task.done() for task in watched))
        codes = await asyncio.gather(*tasks)
        for task in watched:
            if task.done():
                task.result()
    finally:
        killer.cancel()
        for task in watched:
            task.cancel()
        for child in children:
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
    log.info("node %s ended", config.name)
    return max((code if code >= 0 else 128 - code) for code in codes)


def _child(role: str, config: NodeConfig) -> Child:
    if role == "leader":
        return Child("leader", partial(launch_role, "flowrun.node"), config.to_json(), frozenset({0, BAD_CONFIG}))
    if role == "ingress":
        return Child("ingress", partial(launch_role, "flowrun.ingress"), config.to_json(), frozenset({0, BAD_CONFIG}))
    return Child("worker", launch_worker, _worker_config(config).to_json(), frozenset({0, BAD_CONFIG}))


def _worker_config(config: NodeConfig) -> WorkerConfig:
    return WorkerConfig(
        url=config.url, env=config.env, queues=config.queues, least_slots=config.slots[0], slots=config.slots[1],
        async_slots=config.async_slots, thread_slots=config.thread_slots, root=config.root, python=config.python,
        name=f"{config.name}/worker", node=config.name, grace=config.grace, log=config.log, log_level=config.log_level,
        durable=config.durable, replicas=config.replicas, trusted=config.trusted,
        key_file=config.key_file,
    )  # fmt: skip


def launch_role(module: str) -> subprocess.Popen[bytes]:
    """A process of a node: it waits for its NodeConfig, one line on its standard input."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        process_group=0,  # Ctrl-C reaches the foreground group: we say who ends when
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


class _Stop:
    """What the signals of the node do."""

    def __init__(self, children: list[Child]) -> None:
        self._children = children
        self.asked = asyncio.Event()
        self._cold = asyncio.Event()

    def signalled(self, number: signal.Signals) -> None:
        """The first ends warmly, the second, and SIGQUIT, coldly."""
        cold = self.asked.is_set() or number == signal.SIGQUIT
        log.info("%s: the node ends %s", signal.Signals(number).name, "now" if cold else "when what runs has ended")
        self.end(cold)

    def end(self, cold: bool) -> None:
        """Tells the processes to end."""
        tell_systemd("STOPPING=1")
        self.asked.set()
        if cold:
            self._cold.set()
        for child in self._children:
            child.tell(signal.SIGQUIT if cold else signal.SIGTERM)

    async def kill_late(self, grace: float) -> None:
        """Kills what has not ended in time."""
        await self.asked.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._cold.wait()
        if self._cold.is_set():
            await asyncio.sleep(_COLD)
        for child in self._children:
            if child.pid is not None:
                log.warning("the %s did not end in time and is killed", child.name)
                child.tell(signal.SIGKILL)
