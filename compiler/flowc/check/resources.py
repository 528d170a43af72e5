"""Pools, queues, connections, limits, service levels and variables: what a file declares beside work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flowc import ir, syntax
from flowc.resolve import Module, Symbol
from flowc.suggest import did_you_mean
from flowc.types import ERROR, JSON, Secret, Type

from .constants import constant
from .context import Context, Shared
from .service_levels import level_of
from .setting_values import Reader
from .types import holds_secret

__all__ = ["Resources", "kind_of_connection", "read_resources", "report_doubled"]

_FIELDS: dict[str, tuple[str, ...]] = {
    "pool": ("slots",),
    "queue": ("priority", "max_inflight"),
    "limit": ("rate", "per", "burst"),
}
_KINDS = (*_FIELDS, "sla", "connection", "signal")
#: of the fields that must be there: what to write
_NEEDED: dict[str, dict[str, str]] = {
    "pool": {"slots": "write `{ slots: 8 }`"},
    "limit": {"rate": "write `{ rate: 100, per: 1m }`", "per": "write how long it is for: `per: 1s`"},
}
#: a bucket holds what comes in this time, unless `burst` says otherwise, milliseconds
_BURST_MS = 100


class Resources:
    """The resources of the program, by name."""

    def __init__(self) -> None:
        self.pools: dict[str, ir.Pool] = {}
        self.limits: dict[str, ir.Limit] = {}
        self.queues: dict[str, ir.Queue] = {}
        self.connections: dict[str, ir.Connection] = {}


def read_resources(shared: Shared, modules: list[Module]) -> Resources:
    """Reads every resource; a name of a kind is one thing in the whole program, as it is in the cluster."""
    found = Resources()
    for module in modules:
        place = Context(shared, module)
        for node in module.file.declarations:
            if isinstance(node, syntax.Resource):
                _read(place, node, found)
    return found


def _read(place: Context, node: syntax.Resource, found: Resources) -> None:
    kind, name = node.kind.text, node.name.text
    if kind not in _KINDS:
        hint = did_you_mean(kind, _KINDS, "resources are " + ", ".join(f"`{one}`" for one in _KINDS))
        place.report("unknown-name", node.kind, name=kind, kind="kind of resource", hint=hint)
        return
    symbol = place.module.names.get(name)
    if symbol is None or symbol.node is not node:
        return  # a second declaration of the name, which was reported
    shared = place.shared
    known = shared.resources.setdefault((kind, name), symbol)
    if known is not symbol:
        _report_twice(place, node, known)
        return
    if kind == "signal":
        shared.signals[name] = _signal(place, node)
        return
    if kind == "connection":
        found.connections[name] = _connection(place, node)
        return
    if node.type is not None:
        hint = f"write `{kind} {name} {{ … }}`"
        place.report("invalid-setting", node.type, name=name, wanted=f"a {kind} without a kind of its own",
                     found=place.source_text(node.type), hint=hint)  # fmt: skip
    if kind == "sla":
        entries = () if node.body is None else node.body.entries
        level = level_of(Reader(place), node.name, entries, "sla", name)
        if level is not None:
            shared.slas[name] = level
        return
    row = _row(place, node, kind)
    if kind == "pool":
        found.pools[name] = ir.Pool(name=name, slots=row.get("slots", 1))
        if "slots" in row:
            shared.pool_sizes[name] = row["slots"]
    elif kind == "queue":
        found.queues[name] = ir.Queue(name=name, **row)
        if "priority" in row:
            shared.queue_priorities[name] = row["priority"]
    else:
        rate, per_ms = row.get("rate", 1), row.get("per", 1_000)
        burst = row.get("burst", max(1, rate * _BURST_MS // per_ms))
        found.limits[name] = ir.Limit(name=name, rate=rate, per_ms=per_ms, burst=burst)


def _report_twice(place: Context, node: syntax.Resource, known: Symbol) -> None:
    assert isinstance(known.node, syntax.Resource)
    first = Context(place.shared, known.module).label(known.node.name, "first declared here")
    kind = node.kind.text
    where = "program" if kind == "signal" else "cluster"
    hint = f"a {kind} is one thing in the whole {where}: import it with `use`, or rename one"
    place.report(
        "duplicate-name", node.name, help=hint, labels=(first,), name=node.name.text, what=f"a {kind} of another file"
    )


def report_doubled(shared: Shared, variables: Iterable[Symbol]) -> None:
    """Reports variables of one name in several files: they would be one in the environment."""
    known: dict[str, Symbol] = {}
    for symbol in variables:
        first = known.setdefault(symbol.name, symbol)
        if first is symbol or not isinstance(symbol.node, syntax.Var) or not isinstance(first.node, syntax.Var):
            continue
        labels = (Context(shared, first.module).label(first.node.name, "first declared here"),)
        hint = "a variable is one thing in the whole environment: import it with `use`, or rename one"
        Context(shared, symbol.module).report(
            "duplicate-name", symbol.node.name, help=hint, labels=labels, name=symbol.name,
            what="a variable of another file",
        )  # fmt: skip


def _row(place: Context, node: syntax.Resource, kind: str) -> dict[str, Any]:
    """The fields of a pool, a queue or a limit."""
    reader = Reader(place)
    row: dict[str, Any] = {}
    entries = () if node.body is None else node.body.entries
    for entry in entries:
        if isinstance(entry, syntax.Spread):
            place.report("not-supported-yet", entry, construct="a spread in settings")
            continue
        key = entry.key.text
        if key not in _FIELDS[kind]:
            hint = did_you_mean(key, _FIELDS[kind], "it has " + ", ".join(f"`{one}`" for one in _FIELDS[kind]))
            place.report("unknown-setting", entry.key, name=key, where=f"a {kind}", hint=hint)
            continue
        value = _field(reader, kind, key, entry.value)
        if key == "max_inflight":
            place.report("not-active-yet", entry.key, construct="`max_inflight`")
        if value is not None:
            row[key] = value
    named = {entry.key.text for entry in entries if isinstance(entry, syntax.Entry)}
    for key, hint in _NEEDED.get(kind, {}).items():
        if key not in named:
            place.report("missing-setting", node.name, name=key, where=f"a {kind}", hint=hint)
    return row


def _field(reader: Reader, kind: str, key: str, node: syntax.Expression) -> Any:
    if kind == "limit":
        return reader.duration(node, key) if key == "per" else reader.integer(node, key, 1)
    return reader.integer(node, key, 0, 9) if key == "priority" else reader.integer(node, key, 1)


def _connection(place: Context, node: syntax.Resource) -> ir.Connection:
    kind = kind_of_connection(node)
    if node.type is None:
        hint = f"write its kind: `connection {node.name.text}: sqlite {{ … }}`"
        place.report("missing-setting", node.name, name="kind", where="a connection", hint=hint)
    elif not kind:
        hint = f"write `connection {node.name.text}: sqlite {{ … }}`"
        place.report("invalid-setting", node.type, name="kind", wanted="a name", found=place.source_text(node.type),
                     hint=hint)  # fmt: skip
    fields: dict[str, ir.Expr] = {}
    for entry in () if node.body is None else node.body.entries:
        if isinstance(entry, syntax.Spread):
            place.report("not-supported-yet", entry, construct="a spread in a connection")
            continue
        if entry.key.text in fields:
            place.report("duplicate-name", entry.key, name=entry.key.text, what="a field of this connection")
            continue
        value = constant(place, entry.value, f"the field `{entry.key.text}`")
        if value.type != ERROR and holds_secret(value.type) and not isinstance(value.type, Secret):
            place.report("secret-leak", entry.value, what="a secret is the whole of a field")
        fields[entry.key.text] = value.expr
    return ir.Connection(name=node.name.text, kind=kind, fields=fields)


def kind_of_connection(node: syntax.Resource) -> str:
    """What is written behind its name: "duckdb"; "" if that is no kind."""
    return node.type.path.text if isinstance(node.type, syntax.NamedType) and not node.type.args else ""


def _signal(place: Context, node: syntax.Resource) -> Type:
    """The type of what a signal brings."""
    if node.body is not None:
        hint = f"write `signal {node.name.text}: {{ field: type }}`, with the type behind a colon"
        place.report("invalid-setting", node.body, name=node.name.text, wanted="a name and a type", found="a record",
                     hint=hint)  # fmt: skip
    if node.type is None:
        return JSON
    found = place.shared.signatures.types.of(place.module, node.type)
    if holds_secret(found):
        place.report("secret-leak", node.type, what="what a signal brings is stored with the run")
    return found
