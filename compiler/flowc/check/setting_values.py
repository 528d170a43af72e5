"""Reads the values of settings: constants, names of resources, and the forms of `retry`.

Settings come from `.flow` text, from `[defaults]` in flow.toml and from `@task(...)` in Python. The last two are turned
into syntax by `from_plain`, so that one reader checks all; there a duration is a string ("5m"), and so is a name.
Every method gives None after a finding.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.suggest import did_you_mean
from flowc.types import ERROR, Literals

from .constants import constant, fold, plain
from .context import Context, Value
from .names import is_broken, report_unknown
from .types import required, shown

__all__ = ["Reader", "from_plain"]

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(?:\d+(?:ms|s|m|h|d|w))+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])I?B?")
_BACKOFF_ARGUMENTS = ("first", "factor", "cap", "jitter")
_BACKOFFS = ("fixed", "linear", "exponential")
_CONCURRENCY = ("limit", "key", "on_conflict")
_CONFLICTS = ("queue", "cancel_running", "cancel_new", "skip")
#: types that a concurrency key may have
_KEYS = frozenset({"string", "int", "bool", "date", "datetime"})


class Reader:
    """Reads the values of one place."""

    def __init__(self, place: Context, *, is_plain: bool = False, keys: Context | None = None) -> None:
        self.place = place
        #: where the keys of `concurrency` are read: there may be more names than those of constants
        self.keys = keys or place
        #: the task whose settings are read, as Symbol.key; "" for others
        self.task = ""
        #: what the setting that is read stands on
        self.at = ""
        #: the values come from TOML or Python
        self.is_plain = is_plain

    def wrong(self, node: syntax.Node, name: str, wanted: str, found: str, hint: str = "") -> None:
        if not self.is_plain and self.place.shared.findings.has_error_at(self.place.span(node)):
            return  # the value itself is broken
        hint = hint or f"write `{name}: …` with {wanted}"
        self.place.report("invalid-setting", node, name=name, wanted=wanted, found=found, hint=hint)

    def constant(self, node: syntax.Expression, name: str) -> Value | None:
        found = constant(self.place, node, f"the setting `{name}`")
        return None if found.type == ERROR else found

    # -- scalars ------------------------------------------------------------------------------------------------------

    def duration(self, node: syntax.Expression, name: str) -> int | None:
        """In milliseconds, at least one."""
        value = self.constant(node, name)
        if value is None:
            return None
        match value.expr:
            case ["duration", int(microseconds)] if microseconds >= 1_000:
                return microseconds // 1_000
            case ["duration", _]:
                self.wrong(node, name, "a duration of at least 1ms", self.place.source_text(node))
            case ["lit", str(text)] if self.is_plain and _DURATION.fullmatch(text):
                return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h|d|w)", text))
            case ["lit", int(number)] if not isinstance(number, bool):
                hint = (
                    f'write "{number}s" for seconds'
                    if self.is_plain
                    else f"write `{number}s` for seconds, `{number}m` for minutes"
                )
                self.wrong(node, name, "a duration", f"the number {number}", hint)
            case ["lit", str(text)] if _DURATION.fullmatch(text):
                self.wrong(node, name, "a duration", "a string", f"write `{text}` without quotes")
            case _:
                self._not(node, name, "a duration, as `30s` or `1h30m`", value)
        return None

    def moment(self, node: syntax.Expression, name: str) -> int | None:
        """A time in milliseconds since 1970; without an offset it is UTC."""
        value = self.constant(node, name)
        if value is None:
            return None
        match value.expr:
            case ["datetime", str(text)]:
                pass
            case ["lit", str(text)] if self.is_plain and _MOMENT.match(text):
                pass
            case _:
                self._not(node, name, "a time, as `2027-01-31T10:00:00Z`", value)
                return None
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError:
            self.wrong(node, name, "a time, as `2027-01-31T10:00:00Z`", f'"{text}"')
            return None
        return round((at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp() * 1000)

    def size(self, node: syntax.Expression, name: str) -> int | None:
        """Bytes: `"512MB"`, where 1 KB is 1024 bytes."""
        value = self.constant(node, name)
        if value is None:
            return None
        match value.expr:
            case ["lit", str(text)] if found := _SIZE.fullmatch(text.strip().upper()):
                size = int(float(found[1]) * 2.0 ** (10 * (1 + "KMGT".index(found[2]))))
                if size > 0:
                    return size
                self.wrong(node, name, 'a size, as `"512MB"`', "nothing")
            case ["lit", int(number)] if not isinstance(number, bool):
                hint = f'write `{name}: "{number}MB"` for megabytes'
                self.wrong(node, name, 'a size, as `"512MB"`', f"the number {number}", hint)
            case _:
                self._not(node, name, 'a size, as `"512MB"` or `"2GB"`', value)
        return None

    def integer(self, node: syntax.Expression, name: str, low: int = 0, high: int | None = None) -> int | None:
        value = self.constant(node, name)
        if value is None:
            return None
        wanted = f"an int from {low}" + (f" to {high}" if high is not None else "")
        match value.expr:
            case ["lit", int(number)] if not isinstance(number, bool):
                if number >= low and (high is None or number <= high):
                    return number
                self.wrong(node, name, wanted, str(number))
            case _:
                self._not(node, name, wanted, value)
        return None

    def number(self, node: syntax.Expression, name: str, low: float, high: float | None = None) -> float | None:
        value = self.constant(node, name)
        if value is None:
            return None
        wanted = f"a number from {low:g}" + (f" to {high:g}" if high is not None else "")
        match value.expr:
            case ["lit", int(number) | float(number)] if not isinstance(number, bool):
                if low <= number and (high is None or number <= high):
                    return float(number)
                self.wrong(node, name, wanted, f"{number:g}")
            case _:
                self._not(node, name, wanted, value)
        return None

    def boolean(self, node: syntax.Expression, name: str) -> bool | None:
        value = self.constant(node, name)
        if value is None:
            return None
        if value.expr[0] == "lit" and isinstance(value.expr[1], bool):
            return value.expr[1]
        self._not(node, name, "`true` or `false`", value)
        return None

    def choice(self, node: syntax.Expression, name: str, choices: tuple[str, ...]) -> str | None:
        wanted = "one of " + ", ".join(f'"{choice}"' for choice in choices)
        if isinstance(node, syntax.Name) and node.id in choices:
            self.wrong(node, name, wanted, f"the name `{node.id}`", f'write "{node.id}" with quotes')
            return None
        value = self.constant(node, name)
        if value is None:
            return None
        if value.expr[0] == "lit" and isinstance(value.expr[1], str):
            if value.expr[1] in choices:
                return value.expr[1]
            hint = did_you_mean(value.expr[1], choices).replace("`", '"')
            self.wrong(node, name, wanted, f'"{value.expr[1]}"', hint)
            return None
        self._not(node, name, wanted, value)
        return None

    def texts(self, node: syntax.Expression, name: str) -> tuple[str, ...] | None:
        """A list of strings."""
        value = self.constant(node, name)
        if value is None:
            return None
        found = _plain_or_none(value)
        if isinstance(found, list) and all(isinstance(item, str) for item in found):
            return tuple(found)
        self._not(node, name, "a list of strings", value)
        return None

    def environment(self, node: syntax.Expression, name: str) -> tuple[tuple[str, str], ...] | None:
        """A record of strings."""
        value = self.constant(node, name)
        if value is None:
            return None
        found = _plain_or_none(value)
        if isinstance(found, dict) and all(isinstance(item, str) for item in found.values()):
            return tuple(found.items())
        self._not(node, name, 'a record of strings, as `{ LANG: "C" }`', value)
        return None

    def _not(self, node: syntax.Node, name: str, wanted: str, value: Value) -> None:
        self.wrong(node, name, wanted, shown(value.type))

    # -- names --------------------------------------------------------------------------------------------------------

    def resource(self, node: syntax.Expression, name: str, kind: str, builtin: tuple[str, ...] = ()) -> str | None:
        """The name of a declared resource of a kind."""
        written = self.written_name(node)
        if written is None:
            hint = f"declare it with `{kind} NAME …` and write its name"
            self.wrong(node, name, f"the name of a {kind}", self.place.source_text(node, "an expression"), hint)
            return None
        symbol = self._find(written, kind)
        if symbol is not None and symbol.kind == kind:
            self.place.shared.used.add(symbol.key)
            return symbol.name
        if written in builtin and symbol is None:
            return written
        if symbol is not None:
            hint = f"name a {kind} here"
            what = f"a {symbol.kind}"
            self.place.report("wrong-kind", node, name=written, what=what, wanted=f"a {kind}", hint=hint)
        elif not is_broken(self.place, written):
            known = [known for known, what in self.place.module.names.items() if what.kind == kind]
            otherwise = f"declare it: `{kind} {written} {{ … }}`, or import it with `use`"
            report_unknown(self.place, node, written, kind, did_you_mean(written, known, otherwise))
        return None

    def written_name(self, node: syntax.Expression) -> str | None:
        if isinstance(node, syntax.Name):
            return node.id
        return str(node.value) if isinstance(node, syntax.Literal) and node.kind == "string" else None

    def _find(self, name: str, kind: str) -> Symbol | None:
        found = self.place.module.names.get(name)
        if found is None and self.is_plain:
            found = self.place.shared.resources.get((kind, name))
        return found

    def connections(self, node: syntax.Expression, name: str) -> tuple[str, ...] | None:
        if not isinstance(node, syntax.ListExpr):
            self.wrong(node, name, "a list of connections", self.place.source_text(node), "write `uses: [name]`")
            return None
        found = [self.resource(item, name, "connection") for item in node.items]
        return tuple(item for item in found if item is not None)

    # -- concurrency --------------------------------------------------------------------------------------------------

    def concurrency(self, node: syntax.Expression, name: str) -> ir.Concurrency | None:
        """`2`, or `{ limit: 2, key: tenant, on_conflict: "skip" }`."""
        if not isinstance(node, syntax.RecordExpr):
            limit = self.integer(node, name, 1)
            return None if limit is None else ir.Concurrency(limit=limit, task=self.task)
        fields: dict[str, Any] = {}
        seen: set[str] = set()
        for entry in node.entries:
            if isinstance(entry, syntax.Spread):
                self.place.report("not-supported-yet", entry, construct="a spread in settings")
                continue
            seen.add(entry.key.text)
            found = self._concurrency_field(entry)
            if found is not None:
                fields[entry.key.text] = found
        if "limit" not in seen:
            self.wrong(node, name, "a record with `limit`", "one without", "add `limit: 1`, how many at a time")
        return ir.Concurrency(**fields, task=self.task) if "limit" in fields else None

    def _concurrency_field(self, entry: syntax.Entry) -> Any:
        match entry.key.text:
            case "limit":
                return self.integer(entry.value, "limit", 1)
            case "key":
                return self._key(entry.value)
            case "on_conflict":
                return self.choice(entry.value, "on_conflict", _CONFLICTS)
        hint = did_you_mean(entry.key.text, _CONCURRENCY, "`concurrency` has `limit`, `key` and `on_conflict`")
        self.place.report("unknown-setting", entry.key, name=entry.key.text, where="`concurrency`", hint=hint)
        return None

    def _key(self, node: syntax.Expression) -> ir.Expr | None:
        """What tells apart those that count together. In Python it is the name of a parameter, as a string."""
        if self.is_plain and isinstance(node, syntax.Literal) and node.kind == "string":
            node = syntax.Name(node.start, node.end, str(node.value))
        value = self.keys.derive(out=None).value(node)
        if value.type == ERROR:
            return None
        kind = required(value.type)
        if not isinstance(kind, Literals) and getattr(kind, "name", "") not in _KEYS:
            wanted = "a string, an int, a bool, a date or a time"
            self.wrong(node, "key", wanted, shown(value.type), "make it of a value that tells them apart")
            return None
        return fold(value.expr)

    # -- retry --------------------------------------------------------------------------------------------------------

    def retry(self, node: syntax.Expression, name: str) -> ir.Retry | None:
        """`3`, or `{ max: 3, backoff: exponential(30s, cap: 5m), only: [...], except: [...] }`."""
        if not isinstance(node, syntax.RecordExpr):
            attempts = self.integer(node, name)
            return None if attempts is None else ir.Retry(max=attempts)
        fields: dict[str, Any] = {}
        for entry in node.entries:
            if isinstance(entry, syntax.Spread):
                self.place.report("not-supported-yet", entry, construct="a spread in settings")
                continue
            self._retry_field(entry, fields)
        if "max" not in fields:
            if not any(isinstance(entry, syntax.Entry) and entry.key.text == "max" for entry in node.entries):
                self.wrong(
                    node, name, "a record with `max`", "one without", "add `max: 3`, the attempts after the first"
                )
            return None
        return ir.Retry(**fields)

    def _retry_field(self, entry: syntax.Entry, fields: dict[str, Any]) -> None:
        key, node = entry.key.text, entry.value
        found: Any = None
        if key == "max":
            found = self.integer(node, "max")
        elif key in ("only", "except"):
            found, key = self.texts(node, key), "never" if key == "except" else "only"
        elif key == "backoff":
            fields |= self._backoff(node)
        elif self.is_plain and key in _BACKOFF_ARGUMENTS:
            fields |= self._backoff_argument(key, node)
        else:
            keys = ("max", "backoff", "only", "except")
            hint = did_you_mean(key, keys, "`retry` has `max`, `backoff`, `only` and `except`")
            self.place.report("unknown-setting", entry.key, name=key, where="`retry`", hint=hint)
        if found is not None:
            fields[key] = found

    def _backoff(self, node: syntax.Expression) -> dict[str, Any]:
        name = self.written_name(node.func if isinstance(node, syntax.Call) else node)
        if name not in _BACKOFFS or (isinstance(node, syntax.Literal) and not self.is_plain):
            wanted = "`fixed(…)`, `linear(…)` or `exponential(…)`"
            hint = did_you_mean(name or "", _BACKOFFS, "write `backoff: exponential(1s, cap: 5m)`")
            self.wrong(node, "backoff", wanted, self.place.source_text(node), hint)
            return {}
        fields: dict[str, Any] = {"backoff": name}
        for position, arg in enumerate(node.args if isinstance(node, syntax.Call) else ()):
            key = arg.name.text if arg.name is not None else _at(position)
            if key not in _BACKOFF_ARGUMENTS or (name != "exponential" and key == "factor"):
                where = arg.name if arg.name is not None else arg
                takes = ", ".join(f"`{one}`" for one in _BACKOFF_ARGUMENTS if name == "exponential" or one != "factor")
                self.place.report("unknown-argument", where, callee=name, name=key, hint=f"it takes {takes}")
                continue
            fields |= self._backoff_argument(key, arg.value)
        return fields

    def _backoff_argument(self, key: str, node: syntax.Expression) -> dict[str, Any]:
        if key in ("first", "cap"):
            duration = self.duration(node, key)
            return {} if duration is None else {f"{key}_ms": duration}
        number = self.number(node, key, 0 if key == "jitter" else 1, 1 if key == "jitter" else None)
        return {} if number is None else {key: number}


def _at(position: int) -> str:
    return _BACKOFF_ARGUMENTS[position] if position < len(_BACKOFF_ARGUMENTS) else f"#{position + 1}"


def _plain_or_none(value: Value) -> Any:
    try:
        return plain(value.expr)
    except ValueError:
        return None


def from_plain(value: object, start: int, end: int) -> syntax.Expression:
    """A value of TOML or Python as syntax, all of it at one place."""
    match value:
        case bool():
            return syntax.Literal(start, end, "bool", value)
        case int():
            return syntax.Literal(start, end, "int", value)
        case float():
            return syntax.Literal(start, end, "float", value)
        case str():
            return syntax.Literal(start, end, "string", value)
        case list() | tuple():
            return syntax.ListExpr(start, end, tuple(from_plain(item, start, end) for item in value))
        case dict():
            entries = tuple(
                syntax.Entry(start, end, syntax.Ident(start, end, str(key)), from_plain(item, start, end))
                for key, item in value.items()
            )
            return syntax.RecordExpr(start, end, entries)
    return syntax.Literal(start, end, "null", None)
