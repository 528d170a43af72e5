"""Messages of other systems: from a durable consumer of a trigger's source into the inbox of its partition.

A message is acknowledged once the inbox has it, or once it was found to be none that the trigger takes: so none is
lost, and none stands in the way of others. Whoever dies in between leaves it to the next leader, who puts it into the
inbox again, with the same id.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence

import msgspec
from flowc.plan import EventSource

from flowrun.errors import FlowError, StoreError
from flowrun.messages import Arrived, pack_events
from flowrun.transport import Heard, Hearing, Transport

from .events import BadBody, arrival_id, decode_json, event_value, outgoing, typed_body
from .refusals import Refusals
from .room import Room
from .routes import Route

__all__ = ["SubjectReader", "decode_message", "hearing_name"]

log = logging.getLogger("flow.ingress")

#: messages that are taken together
_BATCH = 200
#: of one message to the inbox, in bytes
_LETTER_BYTES = 256 * 1024
#: between two tries, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
#: a subject that is not kept after this time is a problem, in seconds
_PATIENCE = 10.0


def hearing_name(trigger: str, place: int) -> str:
    """What a source of a trigger is heard under."""
    return f"{trigger}/{place}"


def decode_message(data: bytes, kind: str) -> object:
    """The value of a message: JSON, or msgpack; nothing is null. `kind`: its content type, if it says so. Raises
    BadBody."""
    if not data:
        return None
    if "msgpack" in kind:
        return _decode_msgpack(data)
    try:
        return decode_json(data)
    except BadBody:
        if 0x80 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF:  # a map or a list, which no JSON begins with
            return _decode_msgpack(data)
        raise


def _decode_msgpack(data: bytes) -> object:
    try:
        return msgspec.msgpack.decode(data, ext_hook=_no_extension)
    except (msgspec.DecodeError, ValueError, UnicodeDecodeError) as error:
        raise BadBody(f"the body is no msgpack: {error}") from error
    except RecursionError as error:
        raise BadBody("the body is nested too deeply") from error


def _no_extension(code: int, data: memoryview) -> object:
    raise ValueError(f"extension {code} is no value")


class SubjectReader:
    """Of one source. `run` without end."""

    def __init__(self, transport: Transport, route: Route, partition: str, room: Room, refusals: Refusals) -> None:
        assert isinstance(route.source, EventSource), "others have no subject"
        self._transport, self._route, self._source = transport, route, route.source
        self._partition, self._room, self._refusals = partition, room, refusals
        self._prefix, self._count = secrets.token_hex(8), 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        wait, since = _FIRST_WAIT, loop.time()
        while True:
            try:
                hearing = await self._transport.hear(
                    hearing_name(self._route.trigger, self._route.place), self._source.subject
                )  # fmt: skip
                self._refusals.problem(self._route.trigger, self._route.place, "")
                wait, since = _FIRST_WAIT, loop.time()
                await self._read(hearing)
            except StoreError as error:  # it is not kept yet
                if loop.time() - since > _PATIENCE:
                    self._refusals.problem(self._route.trigger, self._route.place, str(error))
            except FlowError as error:
                log.warning("events for trigger %s wait: %s", self._route.trigger, error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _read(self, hearing: Hearing) -> None:
        try:
            while True:
                messages = await hearing.receive(_BATCH)
                await self._room.wait()
                await self._take(messages)
        finally:
            await hearing.close()

    async def _take(self, messages: Sequence[Heard]) -> None:
        arrivals: list[Arrived] = []
        size = 0
        for message in messages:
            arrived = await self._arrival(message)
            if arrived is None:
                continue
            if arrivals and size + len(arrived.value) > _LETTER_BYTES:
                await self._append(arrivals)
                arrivals, size = [], 0
            arrivals.append(arrived)
            size += len(arrived.value)
        if arrivals:
            await self._append(arrivals)
        for message in messages:
            await message.ack()

    async def _arrival(self, message: Heard) -> Arrived | None:
        """None for one that is refused."""
        route, id = self._route, message.id
        try:
            body = typed_body(decode_message(message.data, message.kind), route.body)
        except BadBody as error:
            self._refusals.add(route.trigger, message.subject, id, str(error), message.data)
            return None
        sent, blobs = outgoing(body)
        for digest, data in blobs.items():
            await self._transport.put_blob(digest, data)
        value = event_value(message.subject, "", id, message.time_ms, sent)
        return Arrived(route.trigger, arrival_id("event", route.trigger, route.place, id), value, route.place)

    async def _append(self, arrivals: list[Arrived]) -> None:
        self._count += 1
        await self._transport.append(self._partition, pack_events(arrivals), f"heard/{self._prefix}/{self._count}")
