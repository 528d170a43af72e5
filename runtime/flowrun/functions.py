"""What the pure functions of the language do (`flowc.builtins` says what the checker knows of them).

Every function takes a `Budget` before its arguments: one evaluation builds at most so many items and characters, so
that an expression of a few words cannot fill the memory. Mistakes raise `ExpressionError` with the reason. Nothing
here reads a clock, a file, a locale or the environment.
"""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from .errors import FlowError
from .text import MICROSECOND, PLAIN_EXPONENT, UNITS, kind_name, show

__all__ = [
    "ARITHMETIC", "ATTRIBUTES", "FUNCTIONS", "MAX_ITEMS", "MAX_TEXT",
    "Budget", "ExpressionError", "holds", "pairs", "range_of", "same",
]  # fmt: skip

#: items that one evaluation builds at most
MAX_ITEMS = 10_000_000
#: characters (or bytes) that one evaluation builds at most
MAX_TEXT = 64 * 1024 * 1024
#: digits in a pattern of `format`: a width
_MAX_WIDTH_DIGITS = 3

#: how decimals are calculated: 28 digits, as in Python
ARITHMETIC = decimal.Context(
    prec=28, Emax=9_999, Emin=-9_999, traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]
)


class ExpressionError(FlowError):
    """An expression has no value."""


class Budget:
    """What one evaluation may still build."""

    __slots__ = ("_items", "_text")

    def __init__(self, items: int = MAX_ITEMS, text: int = MAX_TEXT) -> None:
        self._items = items
        self._text = text

    def items(self, count: int) -> None:
        self._items -= count
        if self._items < 0:
            raise ExpressionError(f"the expression builds more than {MAX_ITEMS:,} items: let a task do it")

    def text(self, count: int) -> None:
        self._text -= count
        if self._text < 0:
            raise ExpressionError(f"the expression builds more than {MAX_TEXT:,} characters: let a task do it")


def same(a: object, b: object) -> bool:
    """`a == b`: a bool is never a number."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def holds(whole: Any, part: Any) -> bool:
    """`part in whole`: an item of a list, a key of a map, a text in a string."""
    if isinstance(whole, str):
        if not isinstance(part, str):
            raise ExpressionError(f"a string never holds a value of type {kind_name(part)}")
        return part in whole
    if isinstance(whole, list):
        return any(same(item, part) for item in whole)
    if isinstance(whole, dict):
        return isinstance(part, str) and part in whole
    raise ExpressionError(f"a list, a map or a string is needed, not {kind_name(whole)}")


def pairs(value: Any) -> list[Any]:
    """The items of what is walked: of a map its pairs."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [list(entry) for entry in value.items()]
    raise ExpressionError(f"a list or a map is needed, not {kind_name(value)}")


# ---- numbers --------------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_LARGEST = 2**64


def _whole(value: Any, cut: Callable[[Any], int]) -> int:
    if not (-_LARGEST < value < _LARGEST):  # also refuses NaN
        raise ExpressionError(f"{show(value)} is no whole number of 64 bits")
    return cut(value)


def _number(value: Any) -> Any:
    if isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool):
        return value
    raise ExpressionError(f"a number is needed, not {kind_name(value)}")


def _read(value: Any, pattern: re.Pattern[str], kind: str) -> Any:
    """A number, or text that holds one; bools count as 0 and 1."""
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return _number(value)
    found = value.strip()
    if pattern.fullmatch(found) is None:
        raise ExpressionError(f"{value[:50]!r} is no {kind}")
    return found


def _int(_: Budget, x: Any) -> int:
    found = _read(x, _INTEGER, "int")
    return int(found) if isinstance(found, str) else _whole(found, int)


def _decimal(_: Budget, x: Any) -> decimal.Decimal:
    found = _read(x, _NUMBER, "decimal")
    return ARITHMETIC.create_decimal(repr(found) if isinstance(found, float) else found)


def _round(_: Budget, x: Any, digits: int | None = None) -> Any:
    if digits is None:
        return _whole(_number(x), round)
    if not -300 <= digits <= 300:
        raise ExpressionError(f"`digits` must be between -300 and 300, and it is {digits}")
    if isinstance(x, decimal.Decimal):
        return x if x.is_zero() else ARITHMETIC.quantize(x, decimal.Decimal(1).scaleb(-digits))
    return round(_number(x), digits)


def _sum(_: Budget, xs: list[Any]) -> Any:
    total: Any = 0
    for x in map(_number, xs):
        total = ARITHMETIC.add(total, x) if isinstance(x, decimal.Decimal) else total + x
    return total


def _extreme(name: str, choose: Callable[..., Any]) -> Callable[..., Any]:
    def function(_: Budget, *args: Any) -> Any:
        values = args[0] if len(args) == 1 else list(args)
        if not isinstance(values, list):
            raise ExpressionError(f"`{name}` of one value needs a list, not {kind_name(values)}")
        if not values:
            raise ExpressionError(f"`{name}` of an empty list has no value: check its length first")
        return _ordered(lambda: choose(values), values)

    return function


def _ordered(compare: Callable[[], Any], values: list[Any]) -> Any:
    try:
        return compare()
    except TypeError:
        kinds = sorted({kind_name(value) for value in values})
        raise ExpressionError(f"values of types {' and '.join(kinds)} have no order") from None


# ---- lists and maps -------------------------------------------------------------------------------------------------


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ExpressionError(f"a list is needed, not {kind_name(value)}")


def _map(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ExpressionError(f"a map is needed, not {kind_name(value)}")


def _built(budget: Budget, count: int, values: Iterable[Any]) -> list[Any]:
    """A list of `count` values; nothing is built when that is too many."""
    budget.items(count)
    return list(values)


def range_of(first: int, last: int | None = None, step: int = 1) -> range:
    """What `range(…)` counts through. Raises ExpressionError."""
    if any(not isinstance(bound, int) or isinstance(bound, bool) for bound in (first, last or 0, step)):
        raise ExpressionError("`range` needs whole numbers")
    if step == 0:
        raise ExpressionError("the step of `range` is 0, so it would never end")
    return range(first) if last is None else range(first, last, step)


def _range(budget: Budget, first: int, last: int | None = None, step: int = 1) -> list[int]:
    counted = range_of(first, last, step)
    return _built(budget, _count(counted), counted)


def _count(counted: range) -> int:
    """len(), for ranges of any size."""
    return max(0, -((counted.start - counted.stop) // counted.step))


def _chunk(budget: Budget, xs: list[Any], n: int) -> list[list[Any]]:
    if n < 1:
        raise ExpressionError(f"`chunk` needs a size of at least 1, and it is {n}")
    items = _list(xs)
    return _built(budget, len(items), (items[i : i + n] for i in range(0, len(items), n)))


def _zip(budget: Budget, *lists: list[Any]) -> list[list[Any]]:
    count = min(len(_list(xs)) for xs in lists)
    return _built(budget, count * len(lists), map(list, zip(*lists, strict=False)))


def _cross(budget: Budget, *lists: list[Any]) -> list[list[Any]]:
    count = math.prod(len(_list(xs)) for xs in lists)
    return _built(budget, count * len(lists), map(list, itertools.product(*lists)))


def _entries(budget: Budget, m: Any) -> list[Any]:
    found = _map(m)
    return _built(budget, 2 * len(found), ({"key": key, "value": value} for key, value in found.items()))


def _sorted(budget: Budget, xs: Any) -> list[Any]:
    items = _list(xs)
    budget.items(len(items))
    result: list[Any] = _ordered(lambda: sorted(items), items)
    return result


def _reversed(budget: Budget, xs: Any) -> Any:
    if isinstance(xs, str):
        budget.text(len(xs))
        return xs[::-1]
    return _built(budget, len(_list(xs)), reversed(xs))


def _identity(value: Any) -> object:
    """What two equal values have in common, and can be a key."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, order="sorted")
    return (isinstance(value, bool), value)


def _unique(budget: Budget, xs: Any) -> list[Any]:
    budget.items(len(_list(xs)))
    first: dict[Any, Any] = {}
    for value in xs:
        first.setdefault(_identity(value), value)
    return list(first.values())


def _flatten(budget: Budget, xs: Any) -> list[Any]:
    lists = [_list(inner) for inner in _list(xs)]
    return _built(budget, sum(map(len, lists)), itertools.chain.from_iterable(lists))


def _len(_: Budget, x: Any) -> int:
    if isinstance(x, list | dict | str | bytes):
        return len(x)
    raise ExpressionError(f"a value of type {kind_name(x)} has no length")


# ---- strings --------------------------------------------------------------------------------------------------------


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ExpressionError(f"a string is needed, not {kind_name(value)}")


def _texts(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function over strings whose result is no longer than its arguments."""

    def over_budget(budget: Budget, *args: Any) -> Any:
        budget.text(sum(len(_string(arg)) for arg in args))
        return function(*args)

    return over_budget


def _join(budget: Budget, xs: Any, sep: str = "") -> str:
    shown = [show(x) for x in _list(xs)]
    budget.text(sum(map(len, shown)) + len(_string(sep)) * len(shown))
    return sep.join(shown)


def _split(budget: Budget, s: Any, sep: Any) -> list[str]:
    if not _string(sep):
        raise ExpressionError("`split` needs a separator that is not empty")
    budget.items(_string(s).count(sep) + 1)
    return list(s.split(sep))


def _replace(budget: Budget, s: Any, old: Any, new: Any) -> str:
    count = _string(s).count(_string(old))
    budget.text(len(s) + count * len(_string(new)))
    return str(s.replace(old, new))


def _to_string(budget: Budget, x: Any) -> str:
    shown = show(x)
    budget.text(len(shown))
    return shown


_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_DIRECTIVES = frozenset("YmdHMSfjaAbByIpzZVGuwUW%")


def _format(budget: Budget, x: Any, pattern: str) -> str:
    if re.search(rf"\d{{{_MAX_WIDTH_DIGITS + 1}}}", _string(pattern)):
        raise ExpressionError(f"the pattern {pattern[:50]!r} asks for a width of more than 999")
    budget.text(1_000 + len(pattern) * 10)
    if isinstance(x, dt.date):
        for found in _DIRECTIVE.finditer(pattern):
            if found[1] not in _DIRECTIVES:
                raise ExpressionError(f"the pattern {pattern[:50]!r} has `{found[0]}`, which is no part of a date")
        return x.strftime(pattern)
    if isinstance(x, decimal.Decimal) and x.is_finite() and abs(x.adjusted()) >= PLAIN_EXPONENT:
        raise ExpressionError(f"{x} is too large or too small to be formatted")
    try:
        return format(_number(x), pattern)
    except ValueError as error:
        raise ExpressionError(f"the pattern {pattern[:50]!r} does not fit a number: {error}") from None


# ---- dates and times ------------------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _date(_: Budget, x: Any) -> dt.date:
    if isinstance(x, dt.datetime):
        return x.date()
    if isinstance(x, dt.date):
        return x
    try:
        if _DATE.fullmatch(_string(x)):
            return dt.date.fromisoformat(x)
    except ValueError:
        pass  # the same message
    raise ExpressionError(f"{x[:50]!r} is no date in the form 2026-01-31")


def _datetime(_: Budget, x: Any) -> dt.datetime:
    if isinstance(x, dt.datetime):
        return x
    if isinstance(x, dt.date):
        return dt.datetime(x.year, x.month, x.day)
    try:
        if _DATE.match(_string(x)):
            return dt.datetime.fromisoformat(x)
    except ValueError:
        pass  # the same message
    raise ExpressionError(f"{x[:50]!r} is no datetime in the form 2026-01-31T10:00:00Z")


def _duration(unit: str) -> Callable[..., dt.timedelta]:
    def function(_: Budget, n: Any) -> dt.timedelta:
        try:
            return dt.timedelta(**{unit: float(n) if isinstance(n, decimal.Decimal) else _number(n)})
        except (OverflowError, ValueError):
            raise ExpressionError(f"{show(n)} {unit} are more than a duration can hold") from None

    return function


def _total_seconds(_: Budget, d: Any) -> float:
    if isinstance(d, dt.timedelta):
        return d.total_seconds()
    raise ExpressionError(f"a duration is needed, not {kind_name(d)}")


# ---- the tables -----------------------------------------------------------------------------------------------------

#: by name: what a function does, after a Budget and its arguments
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": _len,
    "sum": lambda budget, xs: _sum(budget, _list(xs)),
    "min": _extreme("min", min),
    "max": _extreme("max", max),
    "abs": lambda _, x: abs(x) if isinstance(x, dt.timedelta) else abs(_number(x)),
    "round": _round,
    "floor": lambda _, x: _whole(_number(x), math.floor),
    "ceil": lambda _, x: _whole(_number(x), math.ceil),
    "range": _range,
    "chunk": _chunk,
    "zip": _zip,
    "cross": _cross,
    "keys": lambda budget, m: _built(budget, len(_map(m)), m),
    "values": lambda budget, m: _built(budget, len(_map(m)), m.values()),
    "entries": _entries,
    "sorted": _sorted,
    "reversed": _reversed,
    "unique": _unique,
    "flatten": _flatten,
    "contains": lambda _, xs, x: holds(xs, x),
    "join": _join,
    "split": _split,
    "trim": _texts(str.strip),
    "upper": _texts(str.upper),
    "lower": _texts(str.lower),
    "replace": _replace,
    "starts_with": _texts(str.startswith),
    "ends_with": _texts(str.endswith),
    "string": _to_string,
    "int": _int,
    "float": lambda _, x: float(_read(x, _NUMBER, "float")),
    "decimal": _decimal,
    "date": _date,
    "datetime": _datetime,
    "format": _format,
    "days": _duration("days"),
    "hours": _duration("hours"),
    "minutes": _duration("minutes"),
    "seconds": _duration("seconds"),
    "total_seconds": _total_seconds,
    "file": lambda _, path: _string(path),
}


def _unit(position: int) -> Callable[[dt.timedelta], int]:
    """How many whole days, hours, … a duration shows."""

    def count(value: dt.timedelta) -> int:
        left = abs(value) // MICROSECOND
        for _, size in UNITS[:position]:
            left %= size
        return (left // UNITS[position][1]) * (-1 if value < dt.timedelta() else 1)

    return count


_DATE_PARTS: dict[str, Callable[[Any], Any]] = {
    "year": lambda value: value.year,
    "month": lambda value: value.month,
    "day": lambda value: value.day,
    "weekday": lambda value: value.isoweekday(),
    "week": lambda value: value.isocalendar().week,
    "day_of_year": lambda value: value.timetuple().tm_yday,
    "quarter": lambda value: (value.month + 2) // 3,
}
_FILE_PARTS: dict[str, Callable[[Any], Any]] = {
    "path": lambda value: value,
    "name": lambda value: PurePosixPath(value).name,
    "stem": lambda value: PurePosixPath(value).stem,
    "suffix": lambda value: PurePosixPath(value).suffix,
    "parent": lambda value: str(PurePosixPath(value).parent),
}

#: by Python type: the attributes of values that are no records (a string is a file: others have none)
ATTRIBUTES: Mapping[type, Mapping[str, Callable[[Any], Any]]] = {
    dt.date: _DATE_PARTS,
    dt.datetime: {
        **_DATE_PARTS,
        "hour": lambda value: value.hour,
        "minute": lambda value: value.minute,
        "second": lambda value: value.second,
        "date": lambda value: value.date(),
    },
    dt.timedelta: {
        "days": _unit(0),
        "hours": _unit(1),
        "minutes": _unit(2),
        "seconds": _unit(3),
        "total_seconds": dt.timedelta.total_seconds,
    },
    str: _FILE_PARTS,
}
