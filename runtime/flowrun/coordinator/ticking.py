"""Times of triggers: works out when they are, waits for them, and sends those that have come to the inbox.

    Arm → the next few times, worked out between other work → a timer for the first → Tick, many to a message

What is due is worked out from the grid (`flowc.schedules`), never from when it is noticed, and whatever is sent counts
once there, however often it is sent. So nothing here is kept: a new leader is told of all that is armed, and sends what
has come meanwhile. Thousands are armed at a take-over, and thousands tick at midnight: their times are worked out in
slices, so that everybody else gets their turn, and the next ones after the tick has been sent.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from itertools import islice

from flowc.plan import IntervalSource
from flowc.schedules import ScheduleError, before, jittered, ticks

from flowrun.background import Background
from flowrun.engine.commands import Arm, Disarm
from flowrun.messages import Scheduled, Tick, pack_events
from flowrun.timers import ServerClock, Timers
from flowrun.transport import Record, Transport
from flowrun.windows import scheduled

__all__ = ["Ticking"]

log = logging.getLogger("flow.coordinator")

#: times of one trigger that are worked out ahead, again when fewer than so many are left, and at once where many have
#: come
_AHEAD, _LOW, _STRIDE = 4, 2, 64
#: times of one Tick, and Ticks of one message
_MOST_TIMES, _MOST_EVENTS = 500, 1_000
#: an interval that has gone by more often than this since its last tick: the oldest times are left out
_MOST_MISSED = 100_000
#: others get their turn after so long, in seconds
_SLICE_SECONDS = 0.005


class _Armed:
    """One grid that is waited for."""

    __slots__ = ("arm", "before_ms", "due", "ended", "known_ms", "sent_ms", "times")

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        #: times that were worked out and not sent, and when they are due
        self.times: deque[int] = deque()
        self.due: deque[int] = deque()
        #: up to here times were worked out, and sent
        self.known_ms = self.sent_ms = arm.after_ms
        #: the time of the grid before the first of `times`; None: it is not known
        self.before_ms: int | None = None
        #: there are no more times
        self.ended = False

    def is_sure(self, now: float) -> bool:
        """Which of its times have come by now is known."""
        return self.ended or (bool(self.due) and self.due[-1] > now)


class Ticking:
    """Of one partition. `clock`: the server's; `prefix`: in the keys of what this coordinator writes."""

    def __init__(
        self, transport: Transport, partition: str, prefix: str, background: Background, clock: ServerClock
    ) -> None:
        self._transport, self._partition, self._prefix = transport, partition, prefix
        self._background, self._clock = background, clock
        self._timers = Timers(clock, self._fire)
        #: trigger -> place -> what is armed
        self._armed: dict[str, dict[int, _Armed]] = {}
        #: whose next times are to be worked out
        self._todo: deque[_Armed] = deque()
        self._has_work = asyncio.Event()
        self._came: list[_Armed] = []
        self._messages = 0
        #: (trigger, place) -> when its last times were sent, by the loop's clock
        self._sent: dict[tuple[str, int], float] = {}

    def arm(self, command: Arm) -> None:
        armed = _Armed(command)
        self._armed.setdefault(command.trigger, {})[command.place] = armed
        self._timers.clear(command.trigger, str(command.place))
        self._plan(armed)

    def disarm(self, command: Disarm) -> None:
        self._armed.pop(command.trigger, None)
        self._timers.clear_run(command.trigger)

    def stop(self) -> None:
        self._timers.stop()

    def came(self, event: Tick, record: Record) -> None:
        """Times are read that were sent here: they were not stamped before."""
        sent = self._sent.pop((event.trigger, event.place), None)
        if sent is not None:
            self._clock.sent(sent, record.time_ms)

    def next_ms(self, trigger: str) -> int | None:
        """When it ticks next, milliseconds since 1970, if that is known."""
        times = [armed.due[0] for armed in self._armed.get(trigger, {}).values() if armed.due]
        return min(times, default=None)

    # ---- working out

    def _plan(self, armed: _Armed) -> None:
        self._todo.append(armed)
        self._has_work.set()

    def _is_current(self, armed: _Armed) -> bool:
        return self._armed.get(armed.arm.trigger, {}).get(armed.arm.place) is armed

    async def run(self) -> None:
        """Works out times for as long as there are any to be worked out, without end."""
        loop = asyncio.get_running_loop()
        while True:
            await self._has_work.wait()
            until = loop.time() + _SLICE_SECONDS
            while self._todo and loop.time() < until:
                await self._look_ahead(self._todo.popleft())
            if not self._todo:
                self._has_work.clear()
            await asyncio.sleep(0)

    async def _look_ahead(self, armed: _Armed) -> None:
        """The next times. Those that have come already are sent, very many in parts."""
        try:
            found = self._after(armed)
            _take(armed, found, _AHEAD)
            while self._is_current(armed) and not armed.is_sure(self._clock.now()):
                if len(armed.due) > _MOST_TIMES:
                    self._append([self._tick(armed, self._clock.now(), more=True)])
                _take(armed, found, _STRIDE)
                await asyncio.sleep(0)
        except ScheduleError as error:
            log.error("trigger %s does not tick here: %s", armed.arm.trigger, error)
            return
        if self._is_current(armed):
            self._send([armed])

    def _after(self, armed: _Armed) -> Iterator[int]:
        """The times that were not worked out yet."""
        definition, source = armed.arm.definition, armed.arm.source
        first = armed.known_ms if definition.start_ms is None else max(armed.known_ms, definition.start_ms - 1)
        if isinstance(source, IntervalSource):
            first = max(first, int(self._clock.now()) - _MOST_MISSED * source.every_ms)
        for time in ticks(source, first):
            if definition.end_ms is not None and time > definition.end_ms:
                return
            yield time

    # ---- sending

    def _fire(self, trigger: str, place: str) -> None:
        armed = self._armed.get(trigger, {}).get(int(place))
        if armed is not None:
            if not self._came:
                asyncio.get_running_loop().call_soon(self._send_all)
            self._came.append(armed)

    def _send_all(self) -> None:
        came, self._came = self._came, []
        self._send([armed for armed in came if self._is_current(armed)])

    def _send(self, came: list[_Armed]) -> None:
        """The times of these that have come, in as few messages as may be; and waits for the next ones."""
        now = self._clock.now()
        events: list[Tick] = []
        for armed in came:
            if not armed.is_sure(now):
                self._plan(armed)
                continue
            if armed.due and armed.due[0] <= now:
                events.append(self._tick(armed, now))
            if armed.due:
                self._timers.set(armed.arm.trigger, str(armed.arm.place), armed.due[0])
            if len(armed.due) < _LOW and not armed.ended:
                self._plan(armed)
        for start in range(0, len(events), _MOST_EVENTS):
            self._append(events[start : start + _MOST_EVENTS])

    def _tick(self, armed: _Armed, now: float, *, more: bool = False) -> Tick:
        arm = armed.arm
        found: list[Scheduled] = []
        while armed.due and armed.due[0] <= now and len(found) < _MOST_TIMES:
            armed.due.popleft()
            time = armed.times.popleft()
            found.append(scheduled(arm.trigger, arm.source, time, armed.before_ms))
            armed.before_ms = time
        self._sent[arm.trigger, arm.place] = asyncio.get_running_loop().time()
        more = more or (bool(armed.due) and armed.due[0] <= now)
        after_ms, armed.sent_ms = armed.sent_ms, found[-1].at_ms
        return Tick(arm.trigger, arm.version, tuple(found), arm.place, more, after_ms)

    def _append(self, events: list[Tick]) -> None:
        self._messages += 1  # the key is new each time: what was early is sent again
        data, key = pack_events(events), f"tick/{self._prefix}/{self._messages}"
        self._background.start(self._write(data, key))

    async def _write(self, data: bytes, key: str) -> None:
        await self._transport.append(self._partition, data, key)


def _take(armed: _Armed, found: Iterator[int], count: int) -> None:
    """Works out so many times more."""
    trigger, jitter_ms = armed.arm.trigger, armed.arm.definition.jitter_ms
    times = list(islice(found, count))
    armed.ended = len(times) < count
    if times and armed.before_ms is None and not armed.times:
        armed.before_ms = before(armed.arm.source, times[0])
    for time in times:
        due = jittered(trigger, time, jitter_ms)
        armed.times.append(time)
        armed.due.append(max(due, armed.due[-1]) if armed.due else due)
        armed.known_ms = time
