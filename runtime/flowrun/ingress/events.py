"""The record `event` of what came, and its id.

{ subject: string, key: string, id: string, at: datetime, body }: `id` is the sender's, as it gave it. The id of
`Arrived` is made of it, of the trigger and of the kind of source: so it is short whatever the sender writes, and two
triggers that hear the same thing never share one.
"""

from __future__ import annotations

import datetime as dt
from hashlib import blake2b
from typing import Literal

import msgspec
from flowc.plan import digest
from flowc.types import Type

from flowrun import values
from flowrun.errors import FlowError

__all__ = ["MOST_INLINE", "BadBody", "arrival_id", "decode_json", "event_value", "outgoing", "typed_body"]

#: a larger body is stored, in bytes
MOST_INLINE = 256 * 1024

Kind = Literal["webhook", "event", "file"]

_encode = msgspec.msgpack.Encoder().encode


class BadBody(FlowError):
    """What came is not what the trigger takes."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        #: where in the body: "$.amount"; "": all of it
        self.field = field


def arrival_id(kind: Kind, trigger: str, source: int, given: str) -> str:
    """The id of an `Arrived`; the same for what comes again."""
    parts = _encode((trigger, source, given))
    return f"{kind}:{blake2b(parts, digest_size=16).hexdigest()}"


def event_value(subject: str, key: str, id: str, at_ms: int, body: bytes) -> bytes:
    """The record as msgpack. `body` is msgpack, too; `at_ms`: milliseconds since 1970."""
    at = dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat()
    fields = (("subject", subject), ("key", key), ("id", id), ("at", at))
    return values.make_record([*((name, _encode(text)) for name, text in fields), ("body", body)])


def decode_json(data: bytes) -> object:
    """The value of a JSON text. Raises BadBody."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadBody(f"the body is no JSON: {error}") from error
    except RecursionError as error:
        raise BadBody("the body is nested too deeply") from error


def typed_body(value: object, kind: Type) -> bytes:
    """The value as msgpack, if it has the type of `event.body`. Raises BadBody with the field."""
    try:
        return values.check(value, kind)
    except (values.TypeMismatch, values.NotSerialisable) as error:
        field, _, what = str(error).removeprefix("`").partition("`: ")
        if not what:
            raise BadBody(f"the body cannot be taken: {error}") from error
        where = "the body" if field == "$" else f"`{field.replace('$', 'body', 1)}`"
        raise BadBody(f"{where}: {what}", field) from error


def outgoing(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """A body as it travels, and what must be stored before. One that is very large is stored, and its parameter gets
    it whole; expressions of the trigger cannot look into it."""
    if len(body) <= MOST_INLINE:
        return body, {}
    key = digest(body)
    return values.reference(values.Blob(key, len(body), values.length(body))), {key: body}
