"""The pure functions of the language, and the attributes of its values, as far as a checker must know them.

`FUNCTIONS` holds one `Signature` per function; `result_type` gives the type of a call or says what is wrong with it.
A signature's own rule sees plain types only: `result_type` counts the arguments, refuses optionals and secrets, and
lets a finding that was already reported (`ERROR`) pass. A `json` argument is accepted everywhere and checked when
the expression is evaluated. What the functions do is in `flowrun.expr`; a test holds the two tables together.

`zip` and `cross` give tuples, which the language has no type for: as values they are lists, and `part_types` says
what the names of a pattern are (`each (a, b) in zip(xs, ys)`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from .types import (
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    DECIMAL,
    DURATION,
    ERROR,
    FILE,
    FLOAT,
    INT,
    JSON,
    NULL,
    SIZE,
    STRING,
    ListOf,
    Literals,
    MapOf,
    Optional,
    Record,
    Secret,
    Type,
    Union,
    text,
)

__all__ = ["ATTRIBUTES", "FUNCTIONS", "SYMBOLIC", "Signature", "attribute_type", "part_types", "result_type"]

#: the type of a call with these argument types, or what is wrong with them
Rule = Callable[[tuple[Type, ...]], Type | str]

#: functions that `each` never builds: it counts their items
SYMBOLIC = frozenset({"range", "chunk", "zip", "cross"})


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One pure function."""

    name: str
    #: names of the parameters, for named arguments and messages; the optional ones come last
    params: tuple[str, ...]
    #: how many of them must be given
    required: int
    #: the last parameter may be repeated
    variadic: bool = False
    result: Rule
    #: one line for hover and the reference
    doc: str

    @property
    def usage(self) -> str:
        """How it is called: `range(first, last?, step?)`."""
        shown = [name if i < self.required else f"{name}?" for i, name in enumerate(self.params)]
        return f"{self.name}({', '.join(shown)}{', …' if self.variadic else ''})"


# ---- families of types ----------------------------------------------------------------------------------------------

_NUMBERS: tuple[Type, ...] = (INT, FLOAT, DECIMAL, SIZE)
_PLAIN: tuple[Type, ...] = (INT, FLOAT, DECIMAL, SIZE, STRING, BOOL, DATE, DATETIME, DURATION, FILE)


def _is_text(kind: Type) -> bool:
    return kind in (STRING, FILE, JSON) or isinstance(kind, Literals)


def _is_plain(kind: Type) -> bool:
    """A value with a text form of its own, which `string` and interpolation show."""
    return kind in _PLAIN or kind == JSON or isinstance(kind, Literals)


def _item(kind: Type) -> Type | None:
    """The type of the items of what can be walked as a list."""
    if kind == JSON:
        return JSON
    return kind.item if isinstance(kind, ListOf) else None


def _join(kinds: tuple[Type, ...]) -> Type | None:
    """One type that holds values of all, as far as a comparison needs it; None if they do not compare."""
    first, *rest = (STRING if isinstance(kind, Literals) else kind for kind in kinds)
    for kind in rest:
        if JSON in (first, kind):
            first = JSON
        elif first in _NUMBERS and kind in _NUMBERS and first != kind:
            if {first, kind} == {FLOAT, DECIMAL}:
                return None
            first = next(number for number in (DECIMAL, FLOAT, INT) if number in (first, kind))
        elif first != kind:
            return None
    return first


def _wrong(position: str, wanted: str, got: Type) -> str:
    return f"{position} must be {wanted}, but it is {text(got)}"


# ---- rules ----------------------------------------------------------------------------------------------------------


def _fixed(result: Type, **params: tuple[Type, ...]) -> Rule:
    """Every parameter takes one of some primitive types (string: also literals); the result is always the same."""
    wanted = list(params.items())

    def rule(args: tuple[Type, ...]) -> Type | str:
        for (name, kinds), got in zip(wanted, args, strict=False):
            fits = got in kinds or got == JSON or (STRING in kinds and _is_text(got))
            if not fits:
                return _wrong(f"`{name}`", " or ".join(text(kind) for kind in kinds), got)
        return result

    return rule


def _of_list(result: Callable[[Type], Type | str]) -> Rule:
    """The first argument is a list; `result` gives the type from the type of its items."""

    def rule(args: tuple[Type, ...]) -> Type | str:
        item = _item(args[0])
        return _wrong("`xs`", "a list", args[0]) if item is None else result(item)

    return rule


def _len(args: tuple[Type, ...]) -> Type | str:
    kind = args[0]
    if kind in (BYTES, JSON) or _is_text(kind) or isinstance(kind, ListOf | MapOf | Record):
        return INT
    return _wrong("`x`", "a list, a map, a string or bytes", kind)


def _sum(item: Type) -> Type | str:
    return item if item in (*_NUMBERS, JSON) else _wrong("`xs`", "a list of numbers", ListOf(item))


def _extreme(args: tuple[Type, ...]) -> Type | str:
    """min and max: of one list, or of several values."""
    if len(args) == 1:
        item = _item(args[0])
        if item is None:
            return _wrong("a single argument", "a list", args[0])
        args = (item,)
    joined = _join(args)
    if joined is None:
        return f"values of types {', '.join(text(kind) for kind in args)} do not compare"
    return joined if _is_plain(joined) else f"values of type {text(joined)} have no order"


def _same_number(args: tuple[Type, ...]) -> Type | str:
    return args[0] if args[0] in (*_NUMBERS, DURATION, JSON) else _wrong("`x`", "a number or a duration", args[0])


def _round(args: tuple[Type, ...]) -> Type | str:
    if args[0] not in (*_NUMBERS, JSON):
        return _wrong("`x`", "a number", args[0])
    if len(args) == 1:
        return INT
    return args[0] if args[1] in (INT, JSON) else _wrong("`digits`", "int", args[1])


def _chunk(args: tuple[Type, ...]) -> Type | str:
    item = _item(args[0])
    if item is None:
        return _wrong("`xs`", "a list", args[0])
    return ListOf(ListOf(item)) if args[1] in (INT, JSON) else _wrong("`n`", "int", args[1])


def _tuples(args: tuple[Type, ...]) -> Type | str:
    """zip and cross: lists of tuples, which as values are lists."""
    items: list[Type] = []
    for position, kind in enumerate(args, 1):
        item = _item(kind)
        if item is None:
            return _wrong(f"argument {position}", "a list", kind)
        if item not in items:
            items.append(item)
    if len(items) == 1:
        return ListOf(ListOf(items[0]))
    mixable = not any(isinstance(item, Optional | Union) or item == JSON for item in items)
    return ListOf(ListOf(Union(tuple(items)) if mixable else JSON))


def _of_map(result: Callable[[Type], Type], *, records: bool = False) -> Rule:
    """The argument is a map (or, for the keys, a record)."""

    def rule(args: tuple[Type, ...]) -> Type | str:
        kind = args[0]
        if kind == JSON or (records and isinstance(kind, Record)):
            return result(JSON)
        return result(kind.item) if isinstance(kind, MapOf) else _wrong("`m`", "a map", kind)

    return rule


def _entry(value: Type) -> Type:
    return ListOf(Record((("key", STRING), ("value", value))))


def _sorted(item: Type) -> Type | str:
    return ListOf(item) if _is_plain(item) else f"values of type {text(item)} have no order"


def _reversed(args: tuple[Type, ...]) -> Type | str:
    kind = args[0]
    if isinstance(kind, ListOf) or kind == JSON:
        return kind
    return STRING if _is_text(kind) else _wrong("`xs`", "a list or a string", kind)


def _flatten(item: Type) -> Type | str:
    inner = _item(item)
    return _wrong("`xs`", "a list of lists", ListOf(item)) if inner is None else ListOf(inner)


def _contains(args: tuple[Type, ...]) -> Type | str:
    whole, part = args
    if JSON in (whole, part):
        return BOOL
    if _is_text(whole) or isinstance(whole, MapOf):
        return BOOL if _is_text(part) else _wrong("`x`", "a string", part)
    if not isinstance(whole, ListOf):
        return _wrong("`xs`", "a list, a map or a string", whole)
    item = whole.item.inner if isinstance(whole.item, Optional) else whole.item
    if item in (part, JSON) or isinstance(item, Union) or _join((item, part)) is not None:
        return BOOL
    return f"a {text(whole)} never holds a value of type {text(part)}"


def _join_text(args: tuple[Type, ...]) -> Type | str:
    item = _item(args[0])
    if item is None or not _is_plain(item):
        return _wrong("`xs`", "a list of plain values", args[0])
    return STRING if len(args) == 1 or _is_text(args[1]) else _wrong("`sep`", "string", args[1])


def _range(args: tuple[Type, ...]) -> Type | str:
    for kind in args:
        if kind not in (INT, JSON):
            return _wrong("every argument", "int", kind)
    return ListOf(INT)


# ---- the table ------------------------------------------------------------------------------------------------------

_TEXT: tuple[Type, ...] = (STRING,)
_SOURCES: tuple[Type, ...] = (INT, FLOAT, DECIMAL, SIZE, STRING, BOOL)


def _function(
    name: str, params: str, result: Rule, doc: str, *, optional: int = 0, variadic: bool = False
) -> Signature:
    names = tuple(params.split())
    return Signature(name=name, params=names, required=len(names) - optional, variadic=variadic, result=result, doc=doc)


_LIST = (
    _function("len", "x", _len, "Number of items, entries or characters."),
    _function("sum", "xs", _of_list(_sum), "Sum of the numbers of a list; 0 for an empty one."),
    _function("min", "x", _extreme, "Smallest item of a list, or smallest argument.", variadic=True),
    _function("max", "x", _extreme, "Largest item of a list, or largest argument.", variadic=True),
    _function("abs", "x", _same_number, "Value without its sign."),
    _function("round", "x digits", _round, "Nearest whole number, or to `digits`; halves go to even.", optional=1),
    _function("floor", "x", _fixed(INT, x=_NUMBERS), "Largest whole number not above x."),
    _function("ceil", "x", _fixed(INT, x=_NUMBERS), "Smallest whole number not below x."),
    _function("range", "first last step", _range, "Whole numbers: range(n) from 0, range(a, b) up to b.", optional=2),
    _function("chunk", "xs n", _chunk, "The list in parts of n items; the last may be shorter."),
    _function("zip", "xs ys", _tuples, "Tuples of the items at one position; as long as the shortest.", variadic=True),
    _function("cross", "xs ys", _tuples, "Tuples of every item with every other; the last varies first.",
              variadic=True),
    _function("keys", "m", _of_map(lambda _: ListOf(STRING), records=True), "Keys of a map or record, in order."),
    _function("values", "m", _of_map(ListOf), "Values of a map, in order."),
    _function("entries", "m", _of_map(_entry), "Records { key, value } of a map, in order."),
    _function("sorted", "xs", _of_list(_sorted), "The list in rising order."),
    _function("reversed", "xs", _reversed, "The list or string backwards."),
    _function("unique", "xs", _of_list(ListOf), "The list without repeated items, in order."),
    _function("flatten", "xs", _of_list(_flatten), "One list of the items of all lists."),
    _function("contains", "xs x", _contains, "Whether a list has the item, a map the key, a string the text."),
    _function("join", "xs sep", _join_text, "The items as text, with `sep` between them.", optional=1),
    _function("split", "s sep", _fixed(ListOf(STRING), s=_TEXT, sep=_TEXT), "Parts of a string between `sep`."),
    _function("trim", "s", _fixed(STRING, s=_TEXT), "The string without white space at its ends."),
    _function("upper", "s", _fixed(STRING, s=_TEXT), "The string in upper case."),
    _function("lower", "s", _fixed(STRING, s=_TEXT), "The string in lower case."),
    _function("replace", "s old new", _fixed(STRING, s=_TEXT, old=_TEXT, new=_TEXT), "`old` replaced by `new`."),
    _function("starts_with", "s prefix", _fixed(BOOL, s=_TEXT, prefix=_TEXT), "Whether s begins with `prefix`."),
    _function("ends_with", "s suffix", _fixed(BOOL, s=_TEXT, suffix=_TEXT), "Whether s ends with `suffix`."),
    _function("string", "x", lambda args: STRING, "The value's text, as interpolation shows it."),
    _function("int", "x", _fixed(INT, x=_SOURCES), "A whole number from a number (cut) or a string."),
    _function("float", "x", _fixed(FLOAT, x=_SOURCES), "A float from a number or a string."),
    _function("decimal", "x", _fixed(DECIMAL, x=_SOURCES), "A decimal from a number or a string."),
    _function("date", "x", _fixed(DATE, x=(STRING, DATETIME, DATE)), "A date from ISO text or a datetime."),
    _function("datetime", "x", _fixed(DATETIME, x=(STRING, DATE, DATETIME)), "A datetime from ISO text or a date."),
    _function("format", "x pattern", _fixed(STRING, x=(DATE, DATETIME, INT, FLOAT, DECIMAL, SIZE), pattern=_TEXT),
              'Text of a date ("%d.%m.%Y") or a number (",.2f").'),
    _function("days", "n", _fixed(DURATION, n=(INT, FLOAT)), "A duration of n days."),
    _function("hours", "n", _fixed(DURATION, n=(INT, FLOAT)), "A duration of n hours."),
    _function("minutes", "n", _fixed(DURATION, n=(INT, FLOAT)), "A duration of n minutes."),
    _function("seconds", "n", _fixed(DURATION, n=(INT, FLOAT)), "A duration of n seconds."),
    _function("total_seconds", "d", _fixed(FLOAT, d=(DURATION,)), "A duration in seconds."),
    _function("file", "path", _fixed(FILE, path=_TEXT), "The file at a path."),
)  # fmt: skip

#: every pure function by name
FUNCTIONS: Mapping[str, Signature] = {signature.name: signature for signature in _LIST}

_DATE_PARTS: dict[str, Type] = {
    "year": INT, "month": INT, "day": INT, "weekday": INT, "week": INT, "day_of_year": INT, "quarter": INT,
}  # fmt: skip

#: by the name of a primitive type: its attributes. `weekday` is 1 (Monday) to 7, `week` the ISO week. A duration's
#: are whole numbers of its parts: 90m has hours 1 and minutes 30. A file's are parts of its path
ATTRIBUTES: Mapping[str, Mapping[str, Type]] = {
    "date": _DATE_PARTS,
    "datetime": {**_DATE_PARTS, "hour": INT, "minute": INT, "second": INT, "date": DATE},
    "duration": {"days": INT, "hours": INT, "minutes": INT, "seconds": INT, "total_seconds": FLOAT},
    "file": {"path": STRING, "name": STRING, "stem": STRING, "suffix": STRING, "parent": STRING},
}


def result_type(name: str, args: tuple[Type, ...]) -> Type | str:
    """The type of `name(args…)`, or what is wrong, as the end of a sentence: "`n` must be int, but it is string"."""
    signature = FUNCTIONS[name]
    few, many = len(args) < signature.required, len(args) > len(signature.params)
    if few or (many and not signature.variadic):
        return f"it takes {_count(signature)}, and {len(args)} {'is' if len(args) == 1 else 'are'} given"
    if ERROR in args:
        return ERROR
    for kind in args:
        if isinstance(kind, Secret):
            return "a secret cannot be passed to a function: pass it to a task as it is"
        if isinstance(kind, Optional) or kind == NULL:
            return f"a value of type {text(kind)} may be null: give a default with `??`"
    return signature.result(args)


def _count(signature: Signature) -> str:
    low, high = signature.required, len(signature.params)
    if signature.variadic:
        return f"at least {low} argument{'s' if low != 1 else ''}"
    shown = f"{low} or {high}" if low + 1 == high else f"{low} to {high}" if low < high else f"{low}"
    return f"{shown} argument{'s' if high != 1 else ''}"


def part_types(name: str, args: tuple[Type, ...]) -> tuple[Type, ...] | None:
    """What the names of a pattern are over the items of `zip(args…)` or `cross(args…)`; None for other functions."""
    if name not in ("zip", "cross"):
        return None
    return tuple(_item(kind) or ERROR for kind in args)


def attribute_type(kind: Type, name: str) -> Type | None:
    """The type of an attribute of a primitive; None if it has none of that name. Records are the checker's."""
    return ATTRIBUTES.get(getattr(kind, "name", ""), {}).get(name)
