"""The executor of kind process: one unit at a time, in the main thread."""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from typing import Any

from flowrun.messages import WorkItem
from flowrun.operator import SoftTimeout

from .batch import batch_of, run_batch
from .core import HAS_EXPIRED, WAS_DROPPED, Core, expired
from .ended import Ended, ended_by
from .execute import Prepared, run
from .quick_call import QuickCall
from .shared import SUCCESS
from .units import Units

__all__ = ["serve_serial"]

_TOKEN = struct.Struct("<Q")


def serve_serial(core: Core) -> None:
    """Until the pipe of tokens ends."""
    serial = _Serial(core)
    signal.signal(signal.SIGUSR1, serial.on_signal)
    serial.serve()


class _Serial:
    def __init__(self, core: Core) -> None:
        self._core = core
        #: the bundle of the last token
        self._units: Units | None = None
        #: what runs items of the same step as this one; None: it is not known, or needs more
        self._quick: QuickCall | None = None
        self._like: WorkItem | None = None
        #: the last item that was taken apart
        self._item: WorkItem | None = None
        self._prepared: Prepared | None = None
        self._attention = 0
        #: the token of the unit that may be interrupted now, or -1
        self._interruptible = -1
        self._awaiting: Any = None

    def serve(self) -> None:
        core, tokens, read = self._core, self._core.tokens, os.read
        while True:
            try:
                data = read(tokens, _TOKEN.size)
            except BlockingIOError:
                self._idle()
                continue
            if not data:
                return
            (token,) = _TOKEN.unpack(data)
            while token >= core.end:
                core.read_frames()
            units = self._units
            if units is None or token >= units.end:
                units = self._units = core.units_of(token)
                self._quick = self._like = None
            if units.batch:
                self._batch(token, units)
            elif units.plain:
                item = units.items[token - units.base]
                self._unit(token, item, -1, self._prepare(item, units))
            else:
                self._chain(token, units)

    def _idle(self) -> None:
        core = self._core
        core.memory.rest(0)
        core.ring()
        readable, _, _ = select.select([core.link.fileno(), core.tokens], [], [])
        if core.link.fileno() in readable:
            core.read_frames()

    # ---- units

    def _prepare(self, item: WorkItem, units: Units) -> QuickCall | Prepared:
        """What runs an item: of most, only the step matters; others are taken apart once."""
        like = self._like
        if (
            like is not None
            and self._quick is not None
            and item.node == like.node
            and item.block == like.block
            and item.flow == like.flow
            and item.plan == like.plan
        ):
            return self._quick
        if item is self._item and self._prepared is not None:
            return self._prepared
        executions, digest = self._core.executions, units.bundle.plans[item.plan]
        self._quick, self._like = executions.quick(item, digest), item
        if self._quick is not None:
            self._item = self._prepared = None
            return self._quick
        self._item, self._prepared = item, executions.prepare(item, digest)
        return self._prepared

    def _chain(self, token: int, units: Units) -> None:
        """A unit, and those that follow it."""
        core = self._core
        item, place = units.find(token)
        ended = self._unit(token, item, place if item.first >= 0 else -1, self._prepare(item, units))
        payloads = [ended.payload]
        for _ in item.then:
            if ended.state != SUCCESS:
                return
            token += 1
            if self._dropped(token):
                now = time.monotonic()
                core.write(token, WAS_DROPPED, now, now)
                return
            following, _ = core.next_of_chain(units.bundle, item, payloads)
            ended = self._unit(token, following, -1, self._prepare(following, units))
            payloads.append(ended.payload)

    def _batch(self, token: int, units: Units) -> None:
        """All units of a bundle from this one on, together."""
        core = self._core
        started = time.monotonic()
        core.latest = token
        core.memory.begin(0, token, started)
        tokens = range(token, units.end)
        batch = batch_of(core.executions, units, tokens)
        try:
            self._interruptible = token
            ends = run_batch(batch, core.executions.blobs, self._wait)
        except SoftTimeout as error:
            batch.fail(error)
            ends = batch.ended
        self._interruptible = -1
        now = time.monotonic()
        for one, ended in reversed([*zip(tokens, ends, strict=True)]):  # the one that is seen to run is told last
            core.write(one, ended, started, now)

    def _dropped(self, token: int) -> bool:
        core = self._core
        attention = core.memory.attention()
        while attention != self._attention and select.select([core.link.fileno()], [], [], 0)[0]:
            core.read_frames()
        self._attention = attention
        return token in core.dropped

    def _unit(self, token: int, item: WorkItem, index: int, prepared: QuickCall | Prepared) -> Ended:
        core = self._core
        started = time.monotonic()
        core.latest = token
        core.memory.begin(0, token, started)
        try:
            self._interruptible = token
            if item.expires_ms and expired(item):
                ended = HAS_EXPIRED
            elif isinstance(prepared, QuickCall):
                ended = prepared.run(item.inputs, core.executions.blobs, self._wait)
            else:
                ended = run(prepared, index, self._wait)
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
