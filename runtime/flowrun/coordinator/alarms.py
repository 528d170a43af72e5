"""Timers of the engine's runs: a heap, from which what is due goes to the inbox, all of a moment in one message.

A timer acts when its event is read there. It stays set in the engine until then, so nothing is lost with this process.
"""

from __future__ import annotations

import asyncio

from flowrun.background import Background
from flowrun.engine.commands import ClearTimer, SetTimer
from flowrun.messages import TimerFired, pack_events
from flowrun.timers import ServerClock, Timers
from flowrun.transport import Record, Transport

__all__ = ["Alarms"]

#: of one message
_MOST = 1_000


class Alarms:
    """`clock`: the server's; `prefix`: in the keys of what this coordinator writes; no other has it."""

    def __init__(
        self, transport: Transport, partition: str, prefix: str, background: Background, clock: ServerClock
    ) -> None:
        self._transport, self._partition, self._prefix, self._background = transport, partition, prefix, background
        self._clock = clock
        self._timers = Timers(self._clock, self._fire)
        self.clear_run = self._timers.clear_run
        #: (run, timer) -> loop time at which its event was sent
        self._fired: dict[tuple[str, str], float] = {}
        self._due: list[TimerFired] = []
        self._messages = 0

    def set(self, command: SetTimer) -> None:
        self._timers.set(command.run, command.timer, command.at_ms)

    def clear(self, command: ClearTimer) -> None:
        self._timers.clear(command.run, command.timer)

    def stop(self) -> None:
        self._timers.stop()

    # ---- the clock

    def saw(self, record: Record) -> None:
        """A live message came just now."""
        self._clock.saw(record.time_ms)

    def came(self, event: TimerFired, record: Record) -> None:
        """The event of a timer is read."""
        sent = self._fired.pop((event.run, event.timer), None)
        if sent is not None:
            self._clock.sent(sent, record.time_ms)

    # ---- what is due

    def _fire(self, run: str, timer: str) -> None:
        loop = asyncio.get_running_loop()
        self._fired[run, timer] = loop.time()
        if not self._due:
            loop.call_soon(self._send)
        self._due.append(TimerFired(run=run, timer=timer))

    def _send(self) -> None:
        due, self._due = self._due, []
        for start in range(0, len(due), _MOST):
            self._messages += 1  # the key is new each time, for a timer that was early is sent again
            data = pack_events(due[start : start + _MOST])
            self._background.start(self._append(data, f"timer/{self._prefix}/{self._messages}"))

    async def _append(self, data: bytes, key: str) -> None:
        await self._transport.append(self._partition, data, key)
