"""The text of values, as interpolation and `string(x)` show it.

`true`, `false`, `null`; a float in its shortest form; a decimal without an exponent; dates and datetimes in ISO form,
UTC as `Z`; durations as they are written (`1m30s`); bytes in base64; lists, maps and records as JSON.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal

import msgspec

__all__ = ["MICROSECOND", "PLAIN_EXPONENT", "UNITS", "kind_name", "show"]

#: the units of durations in text, largest first, in microseconds
UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000))
MICROSECOND = dt.timedelta(microseconds=1)
#: decimals with larger exponents are shown with it
PLAIN_EXPONENT = 1_000


def _show_duration(value: dt.timedelta) -> str:
    left = abs(value) // MICROSECOND
    shown = "" if value >= dt.timedelta() else "-"
    if not left:
        return "0s"
    for unit, size in UNITS:
        count, left = divmod(left, size)
        if unit == "ms" and left:
            return f"{shown}{count}.{left:03}ms"
        shown += f"{count}{unit}" if count else ""
    return shown


def _show_decimal(value: decimal.Decimal) -> str:
    return format(value, "f") if value.is_finite() and abs(value.adjusted()) < PLAIN_EXPONENT else str(value)


def show(value: object) -> str:
    """The value's text."""
    match value:
        case str():
            return value
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case decimal.Decimal():
            return _show_decimal(value)
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
        case dt.date():
            return value.isoformat()
        case dt.timedelta():
            return _show_duration(value)
        case bytes():
            return base64.b64encode(value).decode()
        case list() | tuple() | dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


_KINDS: dict[type, str] = {
    bool: "bool", int: "int", float: "float", decimal.Decimal: "decimal", str: "string", bytes: "bytes",
    dt.datetime: "datetime", dt.date: "date", dt.timedelta: "duration", list: "list", tuple: "list", dict: "record",
    type(None): "null",
}  # fmt: skip


def kind_name(value: object) -> str:
    """What the language calls the value's type."""
    return _KINDS.get(type(value), type(value).__name__)
