"""The sources of triggers: what each takes, and its form in the IR."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flowc import ir, syntax
from flowc.suggest import did_you_mean
from flowc.types import ERROR, JSON, Literals, Secret, Type

from .clocks import check_clock, check_interval, check_moments, check_named_zone
from .constants import fold
from .context import Context, Scope
from .datasets import dataset_name
from .grids import checked_grid, holidays_of, moment, zone_of
from .names import is_broken
from .report import need_bool
from .setting_values import Reader
from .targets import callee_name
from .types import required, shown

if TYPE_CHECKING:
    from .payloads import Payload

__all__ = ["ARGUMENTS", "GRIDS", "SOURCES", "Part", "read_source"]

_EVENT = ("key", "filter", "dedupe", "type")
#: arguments of each source; the first can be given without its name
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "cron": ("expression", "tz", "gap", "overlap", "holidays"),
    "interval": ("every", "origin", "tz", "holidays"),
    "at": ("times", "tz"),
    "custom": ("schedule", "tz"),
    "event": ("subject", *_EVENT),
    "webhook": ("path", "auth", "scheme", "header", "tolerance", "max_size", *_EVENT),
    "file": ("pattern", "every"),
    "after_flow": ("flow", "on"),
    "dataset": ("name",),
    "any_of": (),
    "all_of": (),
}
_USAGE = {
    "cron": 'cron("15 4 * * *", tz: "Europe/Berlin")',
    "interval": "interval(10m)",
    "at": "at(2026-12-31T23:00)",
    "custom": 'custom("schedules:Quarters")',
    "event": 'event("orders.placed")',
    "webhook": 'webhook("/orders", auth: hmac(secret("hook_key")))',
    "file": 'file("in/*.csv")',
    "after_flow": "after_flow(other)",
    "dataset": 'dataset("s3://lake/sales")',
}
SOURCES = tuple(ARGUMENTS)
#: sources that are times, and bring nothing
GRIDS = ("cron", "interval", "at", "custom")

#: types that tell events apart
_KEYS = frozenset({"string", "int", "bool", "date", "datetime", "json"})
_SUBJECT = re.compile(r"(?:[^\s.*>]+|\*)(?:\.(?:[^\s.*>]+|\*))*(?:\.>)?|>")
#: first tokens that cannot be heard
_RESERVED = re.compile(r"\*|>|flow(?:\.|$)|\$|_")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
#: of webhooks: fields of ir.Webhook
_LIMITS = {"tolerance": "tolerance_ms", "max_size": "max_bytes"}
_SCHEMES = ("standard", "sha256=hex", "hex")


class Part:
    """A source as it is written."""

    def __init__(self, node: syntax.Call, name: str) -> None:
        self.node = node
        self.name = name
        #: its own arguments
        self.args: dict[str, syntax.Expression] = {}
        #: those of the trigger as a whole
        self.whole: dict[str, syntax.Expression] = {}
        #: of `any_of` and `all_of`
        self.parts: tuple[Part, ...] = ()
        #: the type of what it brings, if that follows from itself
        self.body: Type | None = None

    def leaves(self) -> Iterator[Part]:
        """The sources that it is made of."""
        if self.name not in ("any_of", "all_of"):
            yield self
        for part in self.parts:
            yield from part.leaves()

    def moment(self, reader: Reader, node: syntax.Expression, key: str) -> int | None:
        """A time or a day in the source's own time zone, milliseconds since 1970."""
        return moment(reader, node, key, zone_of(reader, self.args.get("tz"), is_silent=True))


def read_source(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    """The source, checked; None after a finding."""
    if part.name in ("any_of", "all_of"):
        found = [read_source(reader, payload, inner) for inner in part.parts]
        sources = tuple(source for source in found if source is not None)
        if len(sources) < len(found):
            return None
        return ir.AnyOf(sources=sources) if part.name == "any_of" else ir.AllOf(sources=sources)
    first = ARGUMENTS[part.name][0]
    if first not in part.args:
        help = f"it is called as `{_USAGE[part.name]}`"
        reader.place.report(
            "missing-argument", part.node.func, help=help, callee=part.name, names=f"`{first}`", plural="", example=""
        )
        return None
    return _READ[part.name](reader, payload, part)


def _text(
    reader: Reader, node: syntax.Expression, name: str, wanted: str, pattern: re.Pattern[str] | None
) -> str | None:
    """A constant text of a form."""
    value = reader.constant(node, name)
    if value is None:
        return None
    text = value.expr[1] if value.expr[0] == "lit" else None
    if not isinstance(text, str) or (pattern is not None and pattern.fullmatch(text) is None):
        found = f'"{text}"' if isinstance(text, str) else shown(value.type)
        reader.wrong(node, name, wanted, found)
        return None
    return text


def _options(reader: Reader, part: Part, readers: dict[str, Callable[[syntax.Expression, str], Any]]) -> dict[str, Any]:
    """The values of the named arguments that are given and sound."""
    found = {key: read(part.args[key], key) for key, read in readers.items() if key in part.args}
    return {key: value for key, value in found.items() if value is not None}


# ---- times ----------------------------------------------------------------------------------------------------------


def _cron(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    expression = _text(reader, part.args["expression"], "cron", 'a cron expression, as "15 4 * * *"', None)
    zone = zone_of(reader, part.args.get("tz"))
    fields = _options(
        reader,
        part,
        {
            "gap": lambda node, key: reader.choice(node, key, ("run", "skip")),
            "overlap": lambda node, key: reader.choice(node, key, ("once", "twice")),
            "holidays": lambda node, key: holidays_of(reader, node),
        },
    )
    if expression is None or zone is None:
        return None
    node = part.args["expression"]
    source = checked_grid(reader, node, ir.Cron(expression=" ".join(expression.split()), tz=zone, **fields))
    if source is not None:
        check_named_zone(reader, node, source.expression, part.args.get("tz"))
        check_clock(reader, node, source, set(part.args))
    return source


def _interval(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    every, zone = reader.duration(part.args["every"], "interval"), zone_of(reader, part.args.get("tz"))
    fields: dict[str, Any] = {}
    if "origin" in part.args:
        fields["origin_ms"] = part.moment(reader, part.args["origin"], "origin")
    if "holidays" in part.args:
        fields["holidays"] = holidays_of(reader, part.args["holidays"])
    if every is None or zone is None or None in fields.values():
        return None
    check_interval(reader, part.args["every"], every)
    return ir.Interval(every_ms=every, tz=zone, **fields)


def _at(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    node, zone = part.args["times"], zone_of(reader, part.args.get("tz"))
    nodes = node.items if isinstance(node, syntax.ListExpr) else (node,)
    times = [part.moment(reader, one, "at") for one in nodes]
    if zone is None or None in times:
        return None
    if not times:
        reader.wrong(node, "at", "at least one time", "none", "write `at(2026-12-31T23:00)`")
        return None
    check_moments(reader, nodes, part.args.get("tz"), zone)
    return ir.At(at_ms=tuple(sorted({time for time in times if time is not None})), tz=zone)


def _custom(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    node, zone = part.args["schedule"], zone_of(reader, part.args.get("tz"))
    target = _text(reader, node, "custom", 'a text "module:name"', _TARGET)
    if target is None or zone is None:
        return None
    module, _, name = target.partition(":")
    file = reader.place.module.python.module(module)
    if file is None:
        hint = "it is looked for in the folders of `python = […]` in flow.toml, and in the installed packages"
        reader.place.report("unknown-python", node, what=f"Python module `{module}`", hint=hint)
    elif file.error is not None:
        line, problem = file.error
        reader.place.report("python-syntax", node, path=file.file, problem=problem, line=line)
    elif file.function(name) is None and name not in file.names:
        hint = did_you_mean(name, file.names, f"define it in `{file.file}`")
        reader.place.report("unknown-python", node, what=f"function or class `{name}` in `{file.file}`", hint=hint)
    return ir.Custom(target=target, tz=zone)


# ---- what arrives ---------------------------------------------------------------------------------------------------


def _arriving(reader: Reader, payload: Payload, part: Part) -> dict[str, Any]:
    """The body, key, filter and dedupe of events and webhooks."""
    body = payload.open if part.body is None else part.body
    over = payload.event(body)
    # a parameter's name stands for what the trigger gives it
    over = over.derive(scope=_both(over.scope, reader.keys.scope))
    fields: dict[str, Any] = {"body": reader.place.shared.text(body)}
    if "key" in part.args:
        fields["key"] = _expression(over, part.args["key"], "key")
    if "filter" in part.args:
        fields["filter"] = _expression(over, part.args["filter"], "filter")
    if "dedupe" in part.args:
        fields["dedupe_ms"] = reader.duration(part.args["dedupe"], "dedupe") or 0
    return fields


def _both(inner: Scope, outer: Scope) -> Scope:
    found = Scope(outer)
    found.names.update(inner.names)
    return found


def _expression(over: Context, node: syntax.Expression, name: str) -> ir.Expr | None:
    """`key` or `filter`: over the event alone."""
    value = over.value(node)
    if value.type == ERROR:
        return None
    if _reads_run(value.expr):
        hint = "make it of `event`: there is no run yet"
        Reader(over).wrong(node, name, "made of the event", "made of `run`", hint)
        return None
    if name == "filter":
        need_bool(over, node, value, "the filter")
        return fold(value.expr)
    kind = required(value.type)
    if not isinstance(kind, Literals) and getattr(kind, "name", "") not in _KEYS:
        wanted = "a string, an int, a bool, a date or a time"
        Reader(over).wrong(node, name, wanted, shown(value.type), "make it of a value that tells events apart")
        return None
    return fold(value.expr)


def _reads_run(expr: ir.Expr) -> bool:
    return expr[:2] == ["ref", 0] or any(isinstance(part, list) and _reads_run(part) for part in expr)


def _event(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    wanted = 'a subject, as "orders.placed" or "orders.*"'
    subject = _text(reader, part.args["subject"], "event", wanted, _SUBJECT)
    if subject is not None and _RESERVED.match(subject):
        hint = "begin with a word of your own: what begins with a wildcard, `flow`, `$` or `_` belongs to the server"
        reader.wrong(part.args["subject"], "event", wanted, f'"{subject}"', hint)
        subject = None
    fields = _arriving(reader, payload, part)
    if "dedupe" not in part.args:
        reader.place.report("event-without-dedupe", part.node)
    return None if subject is None else ir.Event(subject=subject, **fields)


def _webhook(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    path = _text(reader, part.args["path"], "webhook", 'a path, as "/orders"', _PATH)
    auth = _auth(reader, part)
    fields = _arriving(reader, payload, part)
    fields |= _options(
        reader,
        part,
        {
            "scheme": lambda node, key: reader.choice(node, key, _SCHEMES),
            "header": lambda node, key: _text(reader, node, key, "the name of a header", re.compile(r"[A-Za-z0-9-]+")),
        },
    )
    limits = _options(reader, part, {"tolerance": reader.duration, "max_size": lambda *at: _size(reader, *at)})
    fields |= {_LIMITS[key]: value for key, value in limits.items()}
    if auth is None or path is None:
        return None
    kind, secret = auth
    for key in ("scheme", "header", "tolerance"):
        if key in part.args and kind != "hmac":
            hint = f"`{key}` is for signatures, and this webhook has none (`auth: {kind}`): remove it"
            reader.place.report("unknown-argument", part.args[key], callee=part.name, name=key, hint=hint)
    if fields.get("scheme", "standard") != "standard" and "header" not in fields:
        hint = 'add `header: "X-Hub-Signature-256"`, the header with the signature'
        reader.place.report("missing-setting", part.args["scheme"], name="header", where="this scheme", hint=hint)
        return None
    return ir.Webhook(path=path, auth=kind, secret=secret, **fields)


def _size(reader: Reader, node: syntax.Expression, name: str) -> int | None:
    """Bytes: `64KB`, or `"64KB"`."""
    if isinstance(node, syntax.Literal) and node.kind == "size" and isinstance(node.value, int):
        return node.value
    return reader.size(node, name)


def _auth(reader: Reader, part: Part) -> tuple[Any, str] | None:
    """`hmac(secret("k"))`, `bearer(secret("k"))` or `none`, and the key of the secret."""
    node = part.args.get("auth")
    if node is None:
        reader.place.report("webhook-without-auth", part.node)
        return None
    name = callee_name(node.func) if isinstance(node, syntax.Call) else reader.written_name(node)
    if name == "none" and not isinstance(node, syntax.Call):
        return "none", ""
    if name in ("hmac", "bearer") and isinstance(node, syntax.Call) and len(node.args) == 1:
        value = reader.constant(node.args[0].value, "auth")
        if value is None:
            return None
        if isinstance(value.type, Secret) and value.expr[0] == "secret":
            return name, value.expr[1]
        if isinstance(value.type, Literals):
            reader.place.report("secret-literal", node.args[0].value)
            return None
    hint = did_you_mean(name or "", ("hmac", "bearer", "none"), 'write `auth: hmac(secret("hook_key"))`')
    if name in ("hmac", "bearer"):
        hint = f'write `auth: {name}(secret("hook_key"))`'
    wanted = '`hmac(secret("…"))`, `bearer(secret("…"))` or `none`'
    reader.wrong(node, "auth", wanted, reader.place.source_text(node), hint)
    return None


def _file(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    pattern = _text(reader, part.args["pattern"], "file", 'a path with wildcards, as "in/*.csv"', re.compile(r".*\S.*"))
    fields: dict[str, Any] = {}
    if "every" in part.args:
        every = reader.duration(part.args["every"], "every")
        fields = {} if every is None else {"every_ms": every}
    return None if pattern is None else ir.File(pattern=pattern, body=_known_body(reader, part), **fields)


def _known_body(reader: Reader, part: Part) -> str:
    return reader.place.shared.text(part.body or JSON)


def _after_flow(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    node, on = part.args["flow"], "success"
    if "on" in part.args:
        on = reader.choice(part.args["on"], "on", ("success", "failure", "done")) or on
    flow = _flow_name(reader, node)
    if flow is None:
        return None
    return ir.FlowEnd(flow=flow, body=_known_body(reader, part), on=on)  # type: ignore[arg-type]


def _flow_name(reader: Reader, node: syntax.Expression) -> str | None:
    """A flow of the program by its name, or any other one by a text."""
    if isinstance(node, syntax.Name):
        place = reader.place
        symbol = place.module.names.get(node.id)
        if symbol is not None and symbol.kind == "flow":
            return symbol.name
        if symbol is not None and symbol.kind != "let":
            hint = "name a flow"
            place.report("wrong-kind", node, name=node.id, what=f"a {symbol.kind}", wanted="a flow", hint=hint)
            return None
        if symbol is None:
            flows = [name for name, known in place.module.names.items() if known.kind == "flow"]
            otherwise = f'import it with `use`, or write "{node.id}" for a flow of another project'
            if not is_broken(place, node.id):
                hint = did_you_mean(node.id, flows, otherwise)
                place.report("unknown-name", node, name=node.id, kind="flow", hint=hint)
            return None
    return _text(reader, node, "after_flow", "a flow, or the name of one", re.compile(r"[A-Za-z_]\w*"))


def _dataset(reader: Reader, payload: Payload, part: Part) -> ir.TriggerSource | None:
    name = dataset_name(reader, part.args["name"], "dataset")
    return None if name is None else ir.Dataset(name=name, body=_known_body(reader, part))


_READ: dict[str, Callable[[Reader, Any, Part], ir.TriggerSource | None]] = {
    "cron": _cron,
    "interval": _interval,
    "at": _at,
    "custom": _custom,
    "event": _event,
    "webhook": _webhook,
    "file": _file,
    "after_flow": _after_flow,
    "dataset": _dataset,
}
