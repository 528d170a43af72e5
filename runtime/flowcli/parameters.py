"""`-p name=value`: values for a flow's parameters, read by the types that the plan declares.

A string is taken as it is written, a number or a date by its usual form, a duration as in `.flow` (`5m`) or ISO 8601,
and everything with parts (lists, maps, records) as JSON.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from flowc import types
from flowc.plan import ParamDef, Plan
from flowc.types import Type
from flowrun import values

from .errors import InputError

__all__ = ["read_parameters"]

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_UNITS_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = re.compile(r"(?:\d+(?:ms|s|m|h|d|w))+")
_SIZE = re.compile(r"(\d+)(KB|MB|GB|KiB|MiB|GiB)")
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_parameters(plan: Plan, given: Iterable[str]) -> dict[str, bytes]:
    """The wire values of the given parameters (`name=value` each), by name. Raises InputError."""
    known = {param.name: param for param in plan.params}
    found: dict[str, bytes] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"`-p {text}` has no value", help="write -p name=value")
        if name not in known:
            raise _unknown(plan, name)
        if name in found:
            raise InputError(f"the parameter `{name}` is given twice", place=f"-p {text}")
        found[name] = _value(plan, known[name], value)
    missing = [param for param in plan.params if param.required and param.name not in found]
    if missing:
        raise InputError(
            f"the flow `{plan.flow}` needs {_listed([param.name for param in missing])}",
            help=" ".join(f"-p {param.name}=<{types.text(plan.types[param.type])}>" for param in missing),
        )
    return found


def _unknown(plan: Plan, name: str) -> InputError:
    names = [param.name for param in plan.params]
    close = get_close_matches(name, names, 1)
    if close:
        help = f"did you mean `{close[0]}`?"
    else:
        help = f"its parameters are {_listed(names)}" if names else "it has no parameters"
    return InputError(f"the flow `{plan.flow}` has no parameter `{name}`", place=f"-p {name}=…", help=help)


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _value(plan: Plan, param: ParamDef, text: str) -> bytes:
    kind = plan.types[param.type]
    shown = text if len(text) <= 60 else text[:57] + "…"
    place = f"-p {param.name}={shown}"
    try:
        return values.check(_parse(text, kind), kind)
    except values.TypeMismatch as error:
        problem = str(error).replace("`$`: ", "").replace("`$", f"`{param.name}")
    except (ValueError, values.NotSerialisable) as error:
        problem = str(error)
    raise InputError(f"the parameter `{param.name}` must be {types.text(kind)}: {problem}", place=place)


def _parse(text: str, kind: Type) -> object:
    """The value that the text stands for; what is still wrong with it, `values.check` finds. Raises ValueError."""
    match kind:
        case types.Optional(inner):
            return None if text == "null" else _parse(text, inner)
        case types.Secret(inner):
            return _parse(text, inner)
        case types.Literals():
            return text
        case types.Union() | types.JSON:
            return _json_or_text(text)
        case types.Primitive(name):
            return _PARSERS.get(name, str)(text)
    return _json(text)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"the text is not JSON ({error})") from error
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def _json_or_text(text: str) -> object:
    try:
        return _json(text)
    except ValueError:
        return text


def _number(convert: Callable[[str], object], what: str) -> Callable[[str], object]:
    def parse(text: str) -> object:
        try:
            return convert(text)
        except (ValueError, decimal.InvalidOperation) as error:
            raise ValueError(f"`{text[:60]}` is not {what}") from error

    return parse


def _bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError as error:
        raise ValueError(f"`{text}` is neither true nor false") from error


def _datetime(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _duration(text: str) -> object:
    if _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+)(ms|s|m|h|d|w)", text)
        return dt.timedelta(milliseconds=sum(int(number) * _UNITS_MS[unit] for number, unit in parts))
    return text  # ISO 8601, which values.check reads


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _UNITS_BYTES[match[2]] if match else int(text)


def _bytes(text: str) -> bytes:
    import base64  # rare

    return base64.b64decode(text, validate=True)


_PARSERS: dict[str, Callable[[str], object]] = {
    "int": _number(int, "a whole number"),
    "float": _number(float, "a number"),
    "decimal": _number(decimal.Decimal, "a number"),
    "bool": _bool,
    "bytes": _number(_bytes, "base64"),
    "date": _number(dt.date.fromisoformat, "a date like 2026-01-31"),
    "datetime": _number(_datetime, "a time like 2026-01-31T10:00:00+02:00"),
    "duration": _duration,
    "size": _number(_size, "a size like 512MiB"),
}
