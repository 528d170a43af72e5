"""Clears away what was kept for triggers that are no more.

A trigger that is not deployed any more is known to its partition for some days, for it may come back. What it refused
is forgotten at once. Of its files a mark is left in place of what has counted: when it comes back it begins with what
comes from then on, and not with all that lies there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowrun.engine.triggered import Triggered
from flowrun.partitions import config
from flowrun.settings import Settings
from flowrun.sources import home_of
from flowrun.transport import Transport

from .files import FILES_KEY, gone_key, source_of
from .refusals import REFUSED_KEY, Refusals

__all__ = ["Leftovers"]

Led = Mapping[str, Mapping[str, Triggered]]


class Leftovers:
    """Of the partitions that this process leads."""

    def __init__(self, transport: Transport, settings: Settings, refusals: Refusals) -> None:
        self._transport, self._settings, self._refusals = transport, settings, refusals
        self._count = 0
        #: what was there when it was cleared last
        self._seen: frozenset[tuple[str, str, bool]] | None = None

    async def clear(self, led: Led, triggers: Iterable[tuple[str, Triggered]]) -> None:
        """`triggers`: those that may leave something, with their partitions. Nothing is done as long as none comes or
        goes. Raises TransportError, StoreError."""
        seen = frozenset((partition, trigger.id, bool(trigger.gone_ms)) for partition, trigger in triggers)
        if seen == self._seen:
            return
        self._count = self._count or (await config(self._transport, self._settings)).partitions
        await self._clear_files(led)
        for entry in await self._transport.entries(REFUSED_KEY):
            trigger = entry.key.removeprefix(f"{REFUSED_KEY}.")
            if self._is_gone(led, trigger):
                await self._refusals.forget(trigger)
        self._seen = seen

    def _is_gone(self, led: Led, trigger: str) -> bool:
        """It is not deployed, as its partition, which is led from here, knows."""
        own = led.get(home_of(trigger, self._count))
        return own is not None and (trigger not in own or bool(own[trigger].gone_ms))

    async def _clear_files(self, led: Led) -> None:
        marks: set[str] = set()
        for entry in await self._transport.entries(FILES_KEY):
            trigger, place = source_of(entry.key)
            if not self._is_gone(led, trigger):
                continue
            is_known = trigger in led[home_of(trigger, self._count)]
            mark = gone_key(trigger, place)
            if is_known:
                marks.add(mark)
            if not is_known or entry.key != mark:
                await self._transport.remove_entry(entry.key)
        for key in marks:
            await self._transport.write_entry(key, b"\x01")
