"""Settings that may have a key, an expression over what can be read at their place: `idempotency_key`, `cache`,
`debounce`; and `batch`.

A task's key is over its parameters, that of a step over the names around it, a flow's over its parameters.
"""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.suggest import did_you_mean
from flowc.types import ERROR, Literals

from .constants import fold
from .setting_values import Reader
from .types import holds_secret, required, shown

__all__ = ["batch", "cache", "debounce", "idempotency_key", "result_of"]

#: types that make a text of their own
_TEXTS = frozenset({"string", "int", "bool", "date", "datetime"})


def idempotency_key(reader: Reader, node: syntax.Expression, name: str) -> ir.Key | None:
    return _key(reader, node, name, is_text=True)


def cache(reader: Reader, node: syntax.Expression, name: str) -> ir.Cache | None:
    """`1d`, or `{ key: day, ttl: 1d }`."""
    if not isinstance(node, syntax.RecordExpr):
        ttl = reader.duration(node, name)
        return None if ttl is None else ir.Cache(ttl_ms=ttl)
    fields = _fields(reader, node, name, ("key", "ttl"))
    ttl = reader.duration(fields["ttl"], "ttl") if "ttl" in fields else None
    if "ttl" not in fields:
        reader.wrong(node, name, "a duration, or a record with `ttl`", "one without", "add `ttl: 1d`")
    key = _key(reader, fields["key"], "key", is_text=False) if "key" in fields else None
    return None if ttl is None or (key is None and "key" in fields) else ir.Cache(ttl_ms=ttl, key=key)


def debounce(reader: Reader, node: syntax.Expression, name: str) -> ir.Debounce | None:
    """`30s`, or `{ key: customer, wait: 30s }`."""
    if not isinstance(node, syntax.RecordExpr):
        wait = reader.duration(node, name)
        return None if wait is None else ir.Debounce(wait_ms=wait)
    fields = _fields(reader, node, name, ("key", "wait"))
    wait = reader.duration(fields["wait"], "wait") if "wait" in fields else None
    if "wait" not in fields:
        reader.wrong(node, name, "a duration, or a record with `wait`", "one without", "add `wait: 30s`")
    key = _key(reader, fields["key"], "key", is_text=True) if "key" in fields else None
    if wait is None or (key is None and "key" in fields):
        return None
    return ir.Debounce(wait_ms=wait, key=None if key is None else key.expr)


def batch(reader: Reader, node: syntax.Expression, name: str) -> ir.Batch | None:
    """`{ max: 100, within: 5s }`."""
    if not isinstance(node, syntax.RecordExpr):
        found = reader.place.source_text(node)
        reader.wrong(node, name, "a record", found, "write `batch: { max: 100, within: 1s }`")
        return None
    fields = _fields(reader, node, name, ("max", "within"))
    missing = next((one for one in ("max", "within") if one not in fields), None)
    if missing is not None:
        reader.wrong(node, name, "a record with `max` and `within`", f"one without `{missing}`", f"add `{missing}`")
        return None
    most, within = reader.integer(fields["max"], "max", 2, 10_000), reader.duration(fields["within"], "within")
    return None if most is None or within is None else ir.Batch(max=most, within_ms=within)


def result_of(reader: Reader, node: syntax.Expression, name: str) -> Any:
    """Of a task, whether its result is dropped; of a flow, how long its record is kept (milliseconds, None: as long as
    the environment says), and whether without its value."""
    if reader.at != "flow":
        choice = reader.choice(node, name, ("keep", "ignore"))
        return None if choice is None else choice == "ignore"
    if isinstance(node, syntax.Literal) and node.kind == "string":
        choice = reader.choice(node, name, ("keep", "ignore"))
        return None if choice is None else (None, choice == "ignore")
    kept = reader.duration(node, name)
    return None if kept is None else (kept, False)


def _fields(reader: Reader, node: syntax.RecordExpr, name: str, known: tuple[str, ...]) -> dict[str, syntax.Expression]:
    found: dict[str, syntax.Expression] = {}
    for entry in node.entries:
        if isinstance(entry, syntax.Spread):
            reader.place.report("not-supported-yet", entry, construct="a spread in settings")
        elif entry.key.text not in known:
            hint = did_you_mean(entry.key.text, known, f"`{name}` has " + " and ".join(f"`{one}`" for one in known))
            reader.place.report("unknown-setting", entry.key, name=entry.key.text, where=f"`{name}`", hint=hint)
        else:
            found[entry.key.text] = entry.value
    return found


def _key(reader: Reader, node: syntax.Expression, name: str, *, is_text: bool) -> ir.Key | None:
    """In Python a key is the name of a parameter, as a string."""
    if reader.is_plain and isinstance(node, syntax.Literal) and node.kind == "string":
        node = syntax.Name(node.start, node.end, str(node.value))
    value = reader.keys.derive(out=None).value(node)
    if value.type == ERROR:
        return None
    kind = required(value.type)
    if is_text and not isinstance(kind, Literals) and getattr(kind, "name", "") not in _TEXTS:
        wanted = "a string, an int, a bool, a date or a time"
        reader.wrong(node, name, wanted, shown(value.type), "make it of a value that tells them apart")
        return None
    if holds_secret(value.type):
        reader.place.report("secret-leak", node, what=f"`{name}` is stored")
        return None
    return ir.Key(expr=fold(value.expr), of_task=bool(reader.task))
