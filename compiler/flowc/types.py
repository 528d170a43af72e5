"""The types of the language, as frozen data, and their canonical text.

Types are structural: two records with the same fields are one type. The canonical text (`text`) is what messages
show and what the IR stores; `parse` in the checker's front reads it back from syntax. `assignable` and friends live
with the checks.
"""

from __future__ import annotations

import re

import msgspec

__all__ = [
    "ANY", "BOOL", "BYTES", "CANCELLATION", "DATASET_UPDATE", "DATE", "DATETIME", "DECIMAL", "DURATION", "ERROR",
    "FAILURE", "FILE", "FILE_CHANGE", "FLOAT", "INT", "JSON", "NULL", "PRIMITIVES", "RUN", "SIZE", "SLA_MISS", "STRING",
    "ListOf", "Literals", "MapOf", "Optional", "Primitive", "Record", "Secret", "Type", "Union", "event_of", "flow_end",
    "text",
]  # fmt: skip


class Primitive(msgspec.Struct, frozen=True, tag="prim", array_like=True):
    """One of PRIMITIVES; `null` is the value of a skipped step; `error` stands where a finding was reported."""

    name: str


class ListOf(msgspec.Struct, frozen=True, tag="list", array_like=True):
    item: Type


class MapOf(msgspec.Struct, frozen=True, tag="map", array_like=True):
    """String keys to values of one type."""

    item: Type


class Record(msgspec.Struct, frozen=True, tag="record", array_like=True):
    """Fields in written order; a field of an optional type may be absent."""

    fields: tuple[tuple[str, Type], ...]


class Literals(msgspec.Struct, frozen=True, tag="literals", array_like=True):
    """A union of string literals: `"eu" | "us"`."""

    values: tuple[str, ...]


class Optional(msgspec.Struct, frozen=True, tag="optional", array_like=True):
    inner: Type


class Union(msgspec.Struct, frozen=True, tag="union", array_like=True):
    """What a handled failure can give: the value of either side. Never holds optionals or other unions."""

    members: tuple[Type, ...]


class Secret(msgspec.Struct, frozen=True, tag="secret", array_like=True):
    inner: Type


Type = Primitive | ListOf | MapOf | Record | Literals | Optional | Union | Secret

INT = Primitive("int")
FLOAT = Primitive("float")
DECIMAL = Primitive("decimal")
STRING = Primitive("string")
BOOL = Primitive("bool")
BYTES = Primitive("bytes")
DATE = Primitive("date")
DATETIME = Primitive("datetime")
DURATION = Primitive("duration")
SIZE = Primitive("size")
JSON = Primitive("json")
FILE = Primitive("file")
NULL = Primitive("null")
#: stands where a finding was reported; compatible with everything, so that one cause gives one message
ERROR = Primitive("error")
#: any value, for operators that accept everything; written `json` in source
ANY = JSON

#: names that a `.flow` file can write, and their types
PRIMITIVES: dict[str, Primitive] = {
    t.name: t for t in (INT, FLOAT, DECIMAL, STRING, BOOL, BYTES, DATE, DATETIME, DURATION, SIZE, JSON, FILE)
}

#: what `catch(e)`, `on failure(e)` and `on_error: "collect"` give
FAILURE = Record((("step", STRING), ("index", Optional(INT)), ("type", STRING), ("message", STRING), ("attempts", INT)))

#: what `on cancel(c)` gives
CANCELLATION = Record((("reason", STRING),))

#: what `on sla_miss(m)` gives
SLA_MISS = Record(
    (
        ("flow", STRING),
        ("run", STRING),
        ("step", STRING),
        ("what", Literals(("start", "finish"))),
        ("due", DATETIME),
        ("by", DURATION),
        ("warning", BOOL),
    )
)

#: bodies of events: of a file that came, and of a dataset that was updated
FILE_CHANGE = Record((("path", STRING), ("size", INT), ("modified", DATETIME)))
DATASET_UPDATE = Record((("dataset", STRING), ("run", STRING), ("flow", STRING), ("step", STRING)))

#: `run`: the facts of the run itself
RUN = Record(
    (
        ("id", STRING),
        ("flow", STRING),
        ("date", DATE),
        ("triggered_at", DATETIME),
        ("window", Record((("start", DATETIME), ("end", DATETIME)))),
    )
)


def event_of(body: Type) -> Record:
    """`event`: what started a run."""
    return Record((("subject", STRING), ("key", STRING), ("id", STRING), ("at", DATETIME), ("body", body)))


def flow_end(result: Type) -> Record:
    """The body of an event: the end of a run of a flow."""
    return Record((("run", STRING), ("flow", STRING), ("state", STRING), ("result", result)))


def text(kind: Type) -> str:
    """The canonical text of a type, as a `.flow` file would write it."""
    match kind:
        case Primitive(name):
            return name
        case ListOf(item):
            return f"list<{text(item)}>"
        case MapOf(item):
            return f"map<{text(item)}>"
        case Secret(inner):
            return f"secret<{text(inner)}>"
        case Optional(inner):
            return f"({text(inner)})?" if isinstance(inner, Literals | Union) else f"{text(inner)}?"
        case Literals(values):
            return " | ".join(map(_quoted, values))
        case Union(members):
            return " | ".join(text(member) for member in members)
        case Record(fields):
            if kind == FAILURE:
                return "Failure"
            shown = (f"{name if _NAME.fullmatch(name) else _quoted(name)}: {text(field)}" for name, field in fields)
            return "{ " + ", ".join(shown) + " }" if fields else "{}"


_NAME = re.compile(r"[A-Za-z_]\w*")


def _quoted(value: str) -> str:
    return msgspec.json.encode(value).decode()
