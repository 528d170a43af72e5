"""What came for a trigger and was refused, where nobody waits for an answer: kept where operators see it.

An entry per trigger counts them and has the last ones; the leader of the trigger's partition writes it, at most once a
second. What is wrong with a source as a whole (its subject cannot be kept, its folder cannot be read) stands there,
too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec

from flowrun.errors import FlowError
from flowrun.transport import Transport

__all__ = ["REFUSED_KEY", "Refusal", "Refusals", "Refused", "read_refusals", "write_unheard"]

#: how the keys of all entries begin; then comes the trigger
REFUSED_KEY = "refused"

log = logging.getLogger("flow.ingress")

#: that are kept of one trigger, and how much of what came
_LAST, _START_BYTES = 20, 200
#: between two writes, in seconds
_WRITE_SECONDS = 1.0
#: the entry that says which subjects are not kept, written by whoever has them kept
_UNHEARD = "unheard"


class Refusal(msgspec.Struct, frozen=True):
    """One message or file that started nothing."""

    #: milliseconds since 1970
    at_ms: int
    #: the subject, or the path
    what: str
    #: its id, as its sender or the server calls it
    id: str
    reason: str
    #: how it begins, as text
    start: str = ""


class Refused(msgspec.Struct, frozen=True):
    """Of one trigger."""

    count: int = 0
    #: the newest last
    last: tuple[Refusal, ...] = ()
    #: place of a source (see `sources`) -> why nothing of it comes
    problems: dict[int, str] = {}


_decoder = msgspec.msgpack.Decoder(Refused)
_unheard_decoder = msgspec.msgpack.Decoder(dict[str, dict[int, str]])


async def read_refusals(transport: Transport, trigger: str) -> Refused:
    """Raises TransportError, StoreError."""
    found = await _read(transport, trigger)
    entry = await transport.read_entry(_UNHEARD)
    unheard = _unheard_decoder.decode(entry.data).get(trigger, {}) if entry is not None and entry.data else {}
    return msgspec.structs.replace(found, problems={**found.problems, **unheard})


async def _read(transport: Transport, trigger: str) -> Refused:
    entry = await transport.read_entry(f"{REFUSED_KEY}.{trigger}")
    try:
        return _decoder.decode(entry.data) if entry is not None and entry.data else Refused()
    except msgspec.DecodeError as error:
        log.warning("what trigger %s refused cannot be read: %s", trigger, error)
        return Refused()


async def write_unheard(transport: Transport, unheard: Mapping[str, Mapping[int, str]]) -> None:
    """Trigger -> place -> why its subject is not kept. Raises TransportError, StoreError."""
    await transport.write_entry(_UNHEARD, msgspec.msgpack.encode(unheard))


class Refusals:
    """Of the triggers whose partitions this process leads. `run` writes them."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        #: trigger -> what is not written yet
        self._new: dict[str, Refused] = {}
        self._problems: dict[tuple[str, int], str] = {}

    def add(self, trigger: str, what: str, id: str, reason: str, data: bytes = b"") -> None:
        start = data[:_START_BYTES].decode("utf-8", "replace")
        refusal = Refusal(int(time.time() * 1000), what, id, reason, start)
        new = self._new.get(trigger, Refused())
        if not new.count:
            log.warning("%s for trigger %s starts nothing: %s", what, trigger, reason)
        self._new[trigger] = Refused(new.count + 1, (*new.last[1 - _LAST :], refusal))

    def problem(self, trigger: str, place: int, text: str) -> None:
        """Why nothing of a source comes; "": it does."""
        if self._problems.get((trigger, place), "") == text:
            return
        if text:
            log.error("trigger %s: %s", trigger, text)
        self._problems[trigger, place] = text
        self._new.setdefault(trigger, Refused())

    async def forget(self, trigger: str) -> None:
        """It is no more."""
        self._new.pop(trigger, None)
        for key in [key for key in self._problems if key[0] == trigger]:
            del self._problems[key]
        await self._transport.remove_entry(f"{REFUSED_KEY}.{trigger}")

    async def run(self) -> None:
        """Without end."""
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Writes what is new; what cannot be written now is, later."""
        new, self._new = self._new, {}
        for trigger, added in new.items():
            try:
                await self._write(trigger, added)
            except FlowError as error:
                log.warning("what trigger %s refused is not written: %s", trigger, error)
                since = self._new.get(trigger, Refused())
                self._new[trigger] = _joined(added, since)

    async def _write(self, trigger: str, added: Refused) -> None:
        problems = {place: text for (of, place), text in self._problems.items() if of == trigger and text}
        found = _joined(await _read(self._transport, trigger), added)
        found = msgspec.structs.replace(found, problems=problems)
        await self._transport.write_entry(f"{REFUSED_KEY}.{trigger}", msgspec.msgpack.encode(found))


def _joined(earlier: Refused, later: Refused) -> Refused:
    return Refused(earlier.count + later.count, (*earlier.last, *later.last)[-_LAST:])
