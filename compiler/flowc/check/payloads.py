"""What a trigger gives to its flow: the type of `event.body`, and the values of the parameters."""

from __future__ import annotations

from collections.abc import Sequence

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.types import (
    DATASET_UPDATE,
    DATE,
    ERROR,
    FILE_CHANGE,
    JSON,
    NULL,
    Record,
    Type,
    event_of,
    flow_end,
)

from .constants import fold
from .context import BROKEN, Context, Scope, Value
from .names import names_in
from .report import accept
from .setting_values import Reader
from .signatures import Param, Signature
from .sources import GRIDS, Part
from .types import assignable, join, optional, required, shown

__all__ = ["Bodies", "Payload", "bodies_of"]

#: of the bodies that are not open: the field that a parameter can take instead of the whole
_PARTS = ("path", "result", "dataset")


class Bodies:
    """What the parts of a trigger bring."""

    def __init__(self) -> None:
        #: the types that are known
        self.known: list[Type] = []
        #: some part takes whatever its parameter is
        self.is_open = False
        #: some part is a time, which brings nothing
        self.has_times = False

    @property
    def is_empty(self) -> bool:
        return not self.known and not self.is_open

    def type(self, given: Type | None) -> Type:
        """The type of `event.body`, where `given` is what an open part brings."""
        kinds = [*self.known, *([given or JSON] if self.is_open else [])]
        if not kinds:
            return NULL
        found = kinds[0]
        for kind in kinds[1:]:
            found = join(found, kind)
        return optional(found) if self.has_times else found


def bodies_of(place: Context, part: Part) -> Bodies:
    """What a trigger's parts bring."""
    found = Bodies()
    for leaf in part.leaves():
        if leaf.name in GRIDS:
            found.has_times = True
        elif (kind := _body_of(place, leaf)) is None:
            found.is_open = True
        else:
            leaf.body = kind
            found.known.append(kind)
    return found


def _body_of(place: Context, leaf: Part) -> Type | None:
    """The type of a body that does not follow from a parameter; None: it does."""
    match leaf.name:
        case "file":
            return FILE_CHANGE
        case "dataset":
            return DATASET_UPDATE
        case "after_flow":
            return _end_of(place, leaf)
    return _declared(place, leaf.args["type"]) if "type" in leaf.args else None


def _declared(place: Context, node: syntax.Expression) -> Type:
    """`type: Order`."""
    if not isinstance(node, syntax.Name):
        hint = "declare it with `type T = …`, and write `type: T`"
        Reader(place).wrong(node, "type", "the name of a type", place.source_text(node), hint)
        return ERROR
    ident = syntax.Ident(node.start, node.end, node.id)
    named = syntax.NamedType(node.start, node.end, syntax.Path(node.start, node.end, (ident,)), ())
    return place.shared.signatures.types.of(place.module, named)


def _end_of(place: Context, leaf: Part) -> Type:
    """The end of a run of another flow: its result is null unless it was a success."""
    node = leaf.args.get("flow")
    symbol = flow_of(place, node) if node is not None else None
    result: Type = JSON if symbol is None else place.shared.signatures.of(symbol).returns
    on = leaf.args.get("on")
    may_fail = isinstance(on, syntax.Literal) and on.value in ("failure", "done")
    return flow_end(optional(result) if may_fail else result)


def flow_of(place: Context, node: syntax.Expression) -> Symbol | None:
    """The flow of this program that is named."""
    symbol = place.module.names.get(node.id) if isinstance(node, syntax.Name) else None
    return symbol if symbol is not None and symbol.kind == "flow" else None


class Payload:
    """`event`, and what the parameters take of it."""

    def __init__(self, cx: Context, signature: Signature, event_id: int, bodies: Bodies) -> None:
        self._signature = signature
        self._event_id = event_id
        self._bodies = bodies
        #: where `event` can be read
        self.cx = cx
        #: what an open part brings
        self.open: Type = JSON

    def arguments(self, node: syntax.TriggerStmt, written: syntax.Expression | None) -> dict[str, ir.Expr]:
        """The values of the parameters, as ir.Trigger has them."""
        if written is not None and not isinstance(written, syntax.RecordExpr):
            hint = "write `args: { parameter: event.body }`"
            Reader(self.cx).wrong(written, "args", "a record", self.cx.source_text(written), hint)
            return {param.name: BROKEN.expr for param in self._signature.params}
        entries = self._entries(written) if written is not None else {}
        open_params = [param for param in self._signature.open if param.name not in entries]
        implicit = open_params[0] if written is None and len(open_params) == 1 and not self._bodies.is_empty else None
        self.open = self._open_type(entries, implicit)
        body = self._bodies.type(self.open)
        args: dict[str, ir.Expr] = {}
        if implicit is not None:
            args[implicit.name] = self._taken(node, implicit, body)
        elif open_params:
            self._missing(node, open_params, is_written=written is not None)
        for name, entry in entries.items():
            args[name] = self._given(name, entry, body)
        return args

    def event(self, body: Type) -> Context:
        """A place where `event` can be read, with a body of this type."""
        inner = self.cx.derive(scope=Scope(self.cx.scope))
        value = Value(["ref", self._event_id], event_of(body))
        inner.bind_param(syntax.Ident(0, 0, "event"), value)
        return inner

    # -- `args` -------------------------------------------------------------------------------------------------------

    def _entries(self, node: syntax.RecordExpr) -> dict[str, syntax.Expression]:
        """The written values of known parameters."""
        flow = self._signature.symbol.name
        found: dict[str, syntax.Expression] = {}
        for entry in node.entries:
            if isinstance(entry, syntax.Spread):
                self.cx.report("not-supported-yet", entry, construct="a spread in `args`")
                continue
            name = entry.key.text
            if name not in self._signature.by_name:
                known = ", ".join(f"`{param.name}`" for param in self._signature.params) or "no parameters"
                self.cx.report("unknown-argument", entry.key, callee=flow, name=name, hint=f"`{flow}` takes {known}")
            elif name in found:
                self.cx.report("duplicate-name", entry.key, name=name, what=f"given to `{flow}`")
            else:
                found[name] = entry.value
        return found

    def _given(self, name: str, node: syntax.Expression, body: Type) -> ir.Expr:
        """One written value."""
        if self._bodies.is_empty and "event" in names_in(node):
            what = "a time brings no event"
            self.cx.report("trigger-payload", node, what=what, hint="use `run.date`, `run.window` or a constant")
            return BROKEN.expr
        place = self.cx if self._bodies.is_empty else self.event(body)
        return self._accepted(place, self._signature.by_name[name], node, place.value(node))

    def _accepted(self, place: Context, param: Param, node: syntax.Node, value: Value, producer: str = "") -> ir.Expr:
        consumer = f"`{param.name}` of `{self._signature.symbol.name}`"
        labels = () if param.node is None else (place.label(param.node, f"`{param.name}` is {shown(param.type)}"),)
        return fold(accept(place, node, value, param.type, consumer, labels, "trigger-payload-mismatch", producer))

    # -- without `args` -----------------------------------------------------------------------------------------------

    def _taken(self, node: syntax.TriggerStmt, param: Param, body: Type) -> ir.Expr:
        """The one parameter that must be given takes the body; or its path, its result, if these fit."""
        event: ir.Expr = ["attr", ["ref", self._event_id], "body"]
        producer = "what the trigger brings"
        if not assignable(body, param.type) and isinstance(body, Record):
            for name, kind in body.fields:
                if name in _PARTS and assignable(required(kind), param.type):
                    event, body, producer = ["attr", event, name], kind, f"`event.body.{name}`"
                    break
        return self._accepted(self.cx, param, node.value, Value(event, body), producer)

    def _missing(self, node: syntax.TriggerStmt, params: Sequence[Param], *, is_written: bool) -> None:
        names = [param.name for param in params]
        listed = ", ".join(f"`{name}`" for name in names)
        value = "…" if self._bodies.is_empty else "event.body"
        example = ", ".join(
            f"{param.name}: {'run.date' if param.type == DATE else value if i == 0 else '…'}"
            for i, param in enumerate(params)
        )
        hint = f"give it a default, or add `args: {{ {example} }}`"
        if len(names) > 1:
            hint = f"give them defaults, or add `args: {{ {example} }}`"
        if is_written:
            hint = f"add to `args`: `{example}`"
        what = f"it gives no value for {listed}"
        self.cx.report("trigger-payload", node.name, what=what, hint=hint)

    def _open_type(self, entries: dict[str, syntax.Expression], implicit: Param | None) -> Type:
        """What an open body is: that of the parameter which takes it as it is."""
        if implicit is not None:
            return implicit.type
        for name, node in entries.items():
            if _is_body(node):
                return self._signature.by_name[name].type
        return JSON


def _is_body(node: syntax.Expression) -> bool:
    return (
        isinstance(node, syntax.Attr)
        and node.name.text == "body"
        and isinstance(node.value, syntax.Name)
        and node.value.id == "event"
    )
