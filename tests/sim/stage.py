"""Where a simulation takes place: for the code under test, clocks, random numbers, process ids and the log are those of
the simulation."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from flowrun.errors import FlowError
from flowrun.memory import EPOCH_MS

from .history import History
from .invariants import Violation
from .loop import SimLoop, current_process

__all__ = ["staged"]


@contextmanager
def staged(
    seed: int,
    loop: SimLoop,
    history: History,
    lives: Callable[[int], bool],
    fail: Callable[[Violation, BaseException], None],
) -> Iterator[None]:
    """`lives`: does the process of this id live? `fail` is told of a log line that tells of a defect."""
    with _seeded(seed, loop, lives), _logged(history, fail):
        yield


class _ToHistory(logging.Handler):
    """Log lines are part of what happened, and one that tells of a defect is a violation."""

    def __init__(self, history: History, fail: Callable[[Violation, BaseException], None]) -> None:
        super().__init__(logging.INFO)
        self._history, self._fail = history, fail

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process()
        self._history.note(process.name if process else "", "logs", self.format(record))
        cause = record.exc_info[1] if record.exc_info else None
        if cause is not None and not isinstance(cause, FlowError):
            self._fail(Violation(record.getMessage()), cause)


@contextmanager
def _logged(history: History, fail: Callable[[Violation, BaseException], None]) -> Iterator[None]:
    log, handler = logging.getLogger("flow"), _ToHistory(history, fail)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def _seeded(seed: int, loop: SimLoop, lives: Callable[[int], bool]) -> Iterator[None]:
    """Clocks, random numbers and what tells processes apart come from the simulation, for the code under test."""
    chance = random.Random(seed + 1)

    def now() -> float:
        process = current_process()
        return EPOCH_MS / 1000 + loop.time() + (process.clock_offset if process else 0.0)

    def now_ns() -> int:
        return int(now() * 1e9)

    def token_hex(size: int = 16) -> str:
        return f"{chance.getrandbits(8 * size):0{2 * size}x}"

    def pid() -> int:
        process = current_process()
        return process.pid if process else 0

    def kill(pid: int, signal: int) -> None:
        """It is only ever asked whether a process lives."""
        if not lives(pid):
            raise ProcessLookupError

    def boot_id() -> str:
        process = current_process()
        return process.host if process else ""

    with (
        mock.patch.object(time, "time", now),
        mock.patch.object(time, "time_ns", now_ns),
        mock.patch.object(secrets, "token_hex", token_hex),
        mock.patch.object(secrets, "choice", chance.choice),
        mock.patch.object(os, "getpid", pid),
        mock.patch.object(os, "kill", kill),
        mock.patch("flowrun.lease._boot_id", boot_id),
        # processes are killed all the time, which no item is to be blamed for
        mock.patch("flowrun.engine.tasks.MAX_CRASHES", 1_000_000),
        mock.patch("flowrun.engine.ranges.MAX_CRASHES", 1_000_000, create=True),
    ):
        yield
