"""A run's arguments: from what somebody typed to values, and from values to the bytes of a submission.

`parse_argument` reads the text of `-p name=text` by the declared type: numbers, dates, durations and sizes as `.flow`
spells them, lists and records as JSON, `@path` as JSON from a file. `encode_arguments` holds all arguments against the
plan's parameters. Both raise ArgumentError, which says what was expected and shows an example.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
from flowc.plan import ParamDef, Plan, digest
from flowc.types import ListOf, Literals, MapOf, Optional, Primitive, Record, Secret, Type, Union, text

from . import values
from .errors import FlowError

__all__ = ["ArgumentError", "encode_argument", "encode_arguments", "encode_some", "join_arguments",
           "parse_argument", "parse_duration", "parse_size"]  # fmt: skip


#: arguments that travel in the submission have at most so many bytes together, if those above the second are stored
_MOST_INLINE, _WORTH_STORING = 256 * 1024, 1024


class ArgumentError(FlowError):
    """An argument of a run is wrong."""


# ---- text -----------------------------------------------------------------------------------------------------------

#: milliseconds
_DURATIONS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SIZES = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_MEASURE = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")


def _int(text: str) -> int:
    value = int(text.replace("_", "")) if len(text) < 40 else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError("it does not fit into 64 bits")
    return value


def _bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _datetime(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _measures(text: str, units: Mapping[str, int], most: int) -> float:
    found = _MEASURE.findall(text)
    if not 1 <= len(found) <= most or "".join(map("".join, found)) != text:
        raise ValueError
    return sum(float(number) * units[unit] for number, unit in found)


def parse_duration(text: str) -> dt.timedelta:
    """ "1h30m". Raises ValueError, KeyError."""
    return dt.timedelta(milliseconds=_measures(text, _DURATIONS, 10))


def parse_size(text: str) -> int:
    """ "64MiB", in bytes. Raises ValueError, KeyError."""
    return _int(str(int(_measures(text, _SIZES, 1))))


#: how a primitive is read, and an example
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (_int, "42"),
    "float": (lambda text: float(text), "1.5"),
    "decimal": (lambda text: Decimal(text), "19.99"),
    "bool": (_bool, "true"),
    "date": (lambda text: dt.date.fromisoformat(text), "2026-01-31"),
    "datetime": (_datetime, "2026-01-31T10:00:00Z"),
    "duration": (parse_duration, "1h30m"),
    "size": (parse_size, "64MiB"),
    "string": (str, "text"),
    "file": (str, "data/input.csv"),
    "bytes": (lambda text: text.encode(), "text"),
}


def parse_argument(name: str, given: str, kind: Type, folder: Path | None = None) -> Any:
    """The value of parameter `name` that somebody typed as `given`; `@path` is looked up in `folder`."""
    match kind:
        case Optional(inner):
            return (
                None if given == "null" and inner != Primitive("string") else parse_argument(name, given, inner, folder)
            )
        case Secret(inner):
            return parse_argument(name, given, inner, folder)
        case Literals(choices):
            return _choice(name, given, choices)
        case Primitive(primitive) if primitive in _READERS:
            return _primitive(name, given, primitive)
        case Union(members) if any(member == Primitive("string") for member in members):
            return given
    return _json(name, given, kind, folder or Path())


def _primitive(name: str, given: str, primitive: str) -> Any:
    read, example = _READERS[primitive]
    try:
        return read(given)
    except (ValueError, KeyError, InvalidOperation, OverflowError) as error:
        why = f" ({error})" if "fit" in str(error) else ""
        raise ArgumentError(
            f"`{name}` takes {_article(primitive)} {primitive}, and {_shown(given)} is none{why}: "
            f"write it like `{name}={example}`"
        ) from error


def _choice(name: str, given: str, choices: tuple[str, ...]) -> str:
    if given in choices:
        return given
    listed = ", ".join(f"`{choice}`" for choice in choices)
    raise ArgumentError(f"`{name}` is one of {listed}, and {_shown(given)} is none of them{_meant(given, choices)}")


def _json(name: str, given: str, kind: Type, folder: Path) -> Any:
    source = given
    if given.startswith("@"):
        source = _file(name, folder / given[1:])
    try:
        return msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ArgumentError(
            f"`{name}` takes {text(kind)} as JSON, and {_shown(given)} is none ({error}): "
            f"write it like `{name}={_example(kind)}`, or `{name}=@file.json`"
        ) from error


def _file(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"`{name}=@{path}`: the file cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"`{name}=@{path}`: the file is not UTF-8 text") from error


def _example(kind: Type) -> str:
    """A value of a type, as JSON."""
    match kind:
        case Primitive("int" | "size"):
            return "1"
        case Primitive("float"):
            return "1.5"
        case Primitive("bool"):
            return "true"
        case Primitive("duration"):
            return '"PT30S"'
        case Primitive(name) if name in _READERS:
            return f'"{_READERS[name][1]}"'
        case Literals(choices):
            return f'"{choices[0]}"'
        case ListOf(item):
            return f"[{_example(item)}]"
        case MapOf(item):
            return f'{{"key": {_example(item)}}}'
        case Record(fields):
            return "{" + ", ".join(f'"{name}": {_example(field)}' for name, field in fields) + "}"
        case Optional(inner) | Secret(inner):
            return _example(inner)
        case _:
            return '{"any": "value"}'


def _shown(given: str) -> str:
    return f"`{given}`" if len(given) <= 60 else f"`{given[:57]}…`"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


# ---- values ---------------------------------------------------------------------------------------------------------


def encode_arguments(plan: Plan, given: Mapping[str, object]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The `args` of a submission, and the blobs (digest, bytes) that it refers to. Absent ones keep their default."""
    _check_names(plan, given)
    missing = [param for param in plan.params if param.required and param.name not in given]
    if missing:
        raise ArgumentError(_missing(plan, missing))
    return encode_some(plan, given)


def encode_some(plan: Plan, given: Mapping[str, object]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The same for some of the parameters: the others come from elsewhere."""
    _check_names(plan, given)
    kinds = {param.name: plan.types[param.type] for param in plan.params}
    return join_arguments([(name, encode_argument(name, value, kinds[name])) for name, value in given.items()])


def _check_names(plan: Plan, given: Mapping[str, object]) -> None:
    declared = tuple(param.name for param in plan.params)
    for name in given:
        if name not in declared:
            raise ArgumentError(_unknown(plan, name, declared))


def join_arguments(encoded: Sequence[tuple[str, bytes]]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The `args` of a submission from its values' bytes, and the blobs (digest, bytes) that it refers to: the large
    ones, and the largest as long as all together are more than a message should hold."""
    inline = dict(encoded)
    blobs: list[tuple[str, bytes]] = []
    size = sum(map(len, inline.values()))
    for name, data in sorted(encoded, key=lambda entry: -len(entry[1])):
        if len(data) > values.INLINE_LIMIT or (size > _MOST_INLINE and len(data) > _WORTH_STORING):
            key = digest(data)
            blobs.append((key, data))
            inline[name] = values.reference(values.Blob(key, len(data), values.length(data)))
            size -= len(data)
    return values.make_map(inline.items()), blobs


def encode_argument(name: str, value: object, kind: Type) -> bytes:
    """The bytes of a value for a parameter of this type. Raises ArgumentError."""
    if value is None and isinstance(kind, Optional):
        return values.NULL
    try:
        return values.check(value, kind)
    except values.TypeMismatch as error:
        reason = str(error).removeprefix("`$`: ").replace("`$", f"`{name}")
        raise ArgumentError(f"argument `{name}` is no {text(kind)}: {reason}") from error
    except values.NotSerialisable as error:
        raise ArgumentError(f"argument `{name}`: {error}") from error


def _unknown(plan: Plan, name: str, known: tuple[str, ...]) -> str:
    if not known:
        return f"flow `{plan.flow}` takes no parameters, so there is no `{name}`"
    hint = _meant(name, known) or f": it has {', '.join(f'`{k}`' for k in known)}"
    return f"flow `{plan.flow}` has no parameter `{name}`{hint}"


def _missing(plan: Plan, missing: list[ParamDef]) -> str:
    listed = ", ".join(f"`{param.name}: {text(plan.types[param.type])}`" for param in missing)
    given = " ".join(f"-p {param.name}={_typed(plan.types[param.type])}" for param in missing)
    return f"flow `{plan.flow}` needs {listed}: give {'it' if len(missing) == 1 else 'them'} as `{given}`"


def _typed(kind: Type) -> str:
    """An example of what somebody types for a type."""
    match kind:
        case Primitive(name) if name in _READERS:
            return _READERS[name][1]
        case Literals(choices):
            return choices[0]
        case Secret(inner):
            return _typed(inner)
    return f"'{_example(kind)}'"


def _meant(name: str, known: tuple[str, ...]) -> str:
    import difflib  # only a mistake pays for it

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f": did you mean `{close[0]}`?" if close else ""
