"""A process of a node that is started again when it dies: soon at first, then less and less often, for ever.

Its configuration is the first line of its standard input, which stays open: it ends by itself when we do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
from collections.abc import Callable

__all__ = ["Child"]

log = logging.getLogger("flow.node")

#: a process that dies younger than this did not start well, in seconds
_YOUNG = 10.0
#: the wait before a start after so many early deaths in a row, in seconds
_WAITS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_POLL = 0.05


class Child:
    """`run` keeps it alive until `stop`, or until it ends by itself with an exit code of `finals`."""

    def __init__(
        self, name: str, launch: Callable[[], subprocess.Popen[bytes]], config: bytes, finals: frozenset[int]
    ) -> None:
        self.name = name
        self._launch, self._config, self._finals = launch, config, finals
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        #: how often it was started again
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    async def run(self) -> int:
        """Returns the exit code of the last process."""
        loop = asyncio.get_running_loop()
        early = 0
        while True:
            born = loop.time()
            code = await self._live()
            if self._told() or code in self._finals:
                return code
            early = early + 1 if loop.time() - born < _YOUNG else 0
            wait = _WAITS[min(early, len(_WAITS) - 1)]
            log.warning("the %s ended with %s; it is started again in %g s", self.name, _ending(code), wait)
            self.restarts += 1
            await asyncio.sleep(wait)
            if self._told():
                return code

    async def _live(self) -> int:
        """One process from start to end."""
        try:
            process = self._process = self._launch()
        except OSError as error:
            log.error("the %s cannot be started: %s", self.name, error)
            return 1
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died already, which is seen below
            process.stdin.write(self._config + b"\n")
            process.stdin.flush()
        while process.poll() is None:  # noqa: ASYNC110 - a process tells nobody that it ended
            await asyncio.sleep(_POLL)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        return process.returncode

    def _told(self) -> bool:
        return self._stopping

    def tell(self, number: signal.Signals) -> None:
        """Passes a signal on; it is not started again from now on."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    known = {number.value: number.name for number in signal.Signals}
    return known.get(-code, f"signal {-code}")
