"""Starts worker processes and starts them again when they die. Used by `flowc run`, and by a node.

A worker ends with the process that started it: its standard input is a pipe that nobody else holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess

from flowrun.errors import FlowError

from .config import WorkerConfig
from .launch import BAD_CONFIG, STORE_FAILED, launch_worker

__all__ = ["Supervisor", "WorkerBroken"]

#: a worker that dies younger than this did not start well, in seconds
YOUNG = 5.0
#: after its second early death, a worker is started again after three times this, then seven times, …, in seconds
WAIT = 0.1
#: so many in a row and the supervisor gives up
MOST_DEATHS = 5
#: a worker that was told to end is killed after this time, in seconds
GRACE = 5.0


class WorkerBroken(FlowError):
    """Worker processes die again and again."""


class Supervisor:
    """One worker process. `wait` tells when it cannot be kept alive."""

    def __init__(self, config: WorkerConfig, launched: subprocess.Popen[bytes] | None = None) -> None:
        """`launched`: a worker that waits for its configuration (`launch.launch_worker`)."""
        self._config = config
        self._launched = launched
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns at once; the worker takes work as soon as it is connected."""
        self._spawn()
        self._watch = asyncio.create_task(self._keep_alive())

    @property
    def pid(self) -> int:
        """The worker's process id."""
        assert self._process is not None
        return self._process.pid

    async def wait(self) -> None:
        """Returns after `stop`. Raises WorkerBroken when workers die again and again."""
        assert self._watch is not None
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._watch)

    async def stop(self, grace: float = 0.0) -> None:
        """Ends the worker, which lets what runs end for so long, and then hands it back; waits for its end. `grace` is
        at most the worker's own."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        if grace > 0 and process.poll() is None:
            process.terminate()
            await self._ended(process, grace)
        process.stdin.close()
        if not await self._ended(process, GRACE):
            process.kill()
            await self._ended(process, GRACE)

    async def _ended(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Waits for its end, at most so long."""
        until = asyncio.get_running_loop().time() + seconds
        while process.poll() is None and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 (nothing tells)
            await asyncio.sleep(0.005)
        return process.returncode is not None

    def _spawn(self) -> None:
        self._process, self._launched = self._launched or launch_worker(), None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already, which `_keep_alive` sees
            self._process.stdin.write(self._config.to_json() + b"\n")
            self._process.stdin.flush()

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        deaths, born = 0, loop.time()
        while True:
            await asyncio.sleep(0.05)
            assert self._process is not None
            if self._process.poll() is None:
                continue
            assert self._process.stdin is not None
            self._process.stdin.close()
            if self._process.returncode == STORE_FAILED:
                raise WorkerBroken("the worker cannot store results; the reason is in the line above")
            if self._process.returncode == BAD_CONFIG:
                raise WorkerBroken("the worker cannot read its configuration; the reason is in the line above")
            deaths = deaths + 1 if loop.time() - born < YOUNG else 1
            if deaths >= MOST_DEATHS:
                raise WorkerBroken(
                    f"worker processes die again and again (exit code {self._process.returncode}); "
                    "the reason is in the lines above"
                )
            await asyncio.sleep(WAIT * (2**deaths - 1) if deaths > 1 else 0.0)
            self._spawn()
            born = loop.time()
