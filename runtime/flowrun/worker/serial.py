"""The executor of kind process: one unit at a time, in the main thread."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Any

from flowrun.messages import WorkItem
from flowrun.operator import SoftTimeout

from .core import HAS_EXPIRED, WAS_DROPPED, Core, expired
from .execute import Ended, Prepared, ended_by, run
from .shared import SUCCESS

__all__ = ["serve_serial"]

_TOKEN_BYTES = 8


def serve_serial(core: Core) -> None:
    """Until the pipe of tokens ends."""
    serial = _Serial(core)
    signal.signal(signal.SIGUSR1, serial.on_signal)
    serial.serve()


class _Serial:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._item: WorkItem | None = None
        self._prepared: Prepared | None = None
        self._attention = 0
        #: the token of the unit that may be interrupted now, or -1
        self._interruptible = -1
        self._awaiting: Any = None

    def serve(self) -> None:
        core, tokens = self._core, self._core.tokens
        while True:
            try:
                data = os.read(tokens, _TOKEN_BYTES)
            except BlockingIOError:
                self._idle()
                continue
            if not data:
                return
            token = int.from_bytes(data, "little")
            while token >= core.end:
                core.read_frames()
            self._chain(token)

    def _idle(self) -> None:
        core = self._core
        core.memory.rest(0)
        core.ring()
        readable, _, _ = select.select([core.link.fileno(), core.tokens], [], [])
        if core.link.fileno() in readable:
            core.read_frames()

    # ---- units

    def _chain(self, token: int) -> None:
        """A unit, and those that follow it."""
        core = self._core
        bundle, item, place = core.find(token)
        if item is not self._item or self._prepared is None:
            self._item, self._prepared = item, core.executions.prepare(item, bundle.plans[item.plan])
        ended = self._unit(token, item, self._prepared, place if item.first >= 0 else -1)
        payloads = [ended.payload]
        for _ in item.then:
            if ended.state != SUCCESS:
                return
            token += 1
            if self._dropped(token):
                now = time.monotonic()
                core.write(token, WAS_DROPPED, now, now)
                return
            following, digest = core.next_of_chain(bundle, item, payloads)
            ended = self._unit(token, following, core.executions.prepare(following, digest), -1)
            payloads.append(ended.payload)

    def _dropped(self, token: int) -> bool:
        core = self._core
        attention = core.memory.attention()
        while attention != self._attention and select.select([core.link.fileno()], [], [], 0)[0]:
            core.read_frames()
        self._attention = attention
        return token in core.dropped

    def _unit(self, token: int, item: WorkItem, prepared: Prepared, index: int) -> Ended:
        core = self._core
        started = time.monotonic()
        core.latest = token
        core.memory.begin(0, token, started)
        try:
            self._interruptible = token
            ended = HAS_EXPIRED if expired(item) else run(prepared, index, self._wait)
            self._interruptible = -1
        except SoftTimeout as error:  # it came when the unit had ended and this was not noted yet
            ended = ended_by(error)
        self._interruptible = -1
        core.write(token, ended, started, time.monotonic())
        return ended

    # ---- soft time limits

    def on_signal(self, number: int, frame: object) -> None:
        """The agent asks a unit to end: raises SoftTimeout in it, once."""
        if self._interruptible < 0 or self._core.memory.soft() != self._interruptible:
            return
        self._interruptible = -1
        if self._awaiting is not None:
            self._awaiting.interrupt_soon()
        else:
            raise SoftTimeout

    def _wait(self, awaitable: Any) -> Any:
        """Runs an `async def` task on this process's loop, which lives as long as the process."""
        from .awaiting import Awaiting, run_in_own_loop  # asyncio takes as long to import as all the rest

        self._awaiting = Awaiting(awaitable)
        try:
            return run_in_own_loop(self._awaiting)
        finally:
            self._awaiting = None
