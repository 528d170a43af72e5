"""What follows a stage: `with`, `after`, `catch`, `on`.

They bind to the stage before them, in any order, each at most once (`on` once per event). The stage is elaborated with
its settings; `after` goes to every step that the stage made at this level; `catch` puts those steps into a block of
their own; `on` watches the step that gives the stage's value.
"""

from __future__ import annotations

from collections.abc import Callable

from flowc import ir, syntax
from flowc.types import ERROR, FAILURE, NULL, ListOf, Record, Type

from .calls import call, call_bare
from .context import BROKEN, Context, Value, read
from .handlers import watch
from .rules import rules_of
from .setting_values import Reader
from .settings import Place, read_row
from .targets import symbol_of
from .types import join, optional

__all__ = ["modified", "with_after"]

#: what these watch is the call itself, also where a `catch` gives another value
_OF_THE_CALL = ("failure", "retry", "cancel", "sla_miss")


class _Modifiers:
    """The modifiers of one stage, sorted by kind; the parser has refused doubled ones."""

    def __init__(self, node: syntax.Modified) -> None:
        self.settings: syntax.With | None = None
        self.after: syntax.After | None = None
        self.catch: syntax.Catch | None = None
        self.on: list[syntax.On] = []
        for modifier in node.modifiers:
            match modifier:
                case syntax.With():
                    self.settings = modifier
                case syntax.After():
                    self.after = modifier
                case syntax.Catch():
                    self.catch = modifier
                case syntax.On():
                    self.on.append(modifier)


def modified(
    cx: Context, node: syntax.Modified, bind: str | None = None, elaborate: Callable[..., Value] = Context.expr
) -> Value:
    """A stage with its modifiers; `elaborate` is how the stage itself is read (`groups.stage` inside a chain)."""
    if cx.out is None:
        return elaborate(cx, node.value, bind)
    modifiers = _Modifiers(node)
    rules = rules_of(cx, modifiers.after.rule) if modifiers.after is not None else ()
    inner = cx.derive(out=[])
    is_caught = modifiers.catch is not None
    name = cx.state.step_name(bind) if is_caught and bind else ""
    value = _with(inner, node, modifiers.settings, None if is_caught else bind, elaborate)
    assert inner.out is not None
    if value.step is None and not inner.out and value.type != ERROR and modifiers.settings is None:
        value = inner.keep(node.value, value, None if is_caught else bind)
    steps = [with_after(step, rules) for step in inner.out]
    watched = [on for on in modifiers.on if on.event.text in _OF_THE_CALL or not is_caught]
    inner = inner.derive(out=steps)
    for on in watched:
        value = watch(inner, node, on, value)
    if modifiers.catch is None:
        cx.out += steps
        return value
    value = _catch(cx, node, modifiers.catch, value, steps, name)
    for on in modifiers.on:
        if on not in watched:
            value = watch(cx, node, on, value)
    return value


def with_after(step: ir.Step, rules: tuple[ir.Rule, ...]) -> ir.Step:
    """The step, waiting for the rules too."""
    return step.model_copy(update={"after": (*step.after, *rules)}) if rules else step


# ---- with -----------------------------------------------------------------------------------------------------------


def _with(
    cx: Context, node: syntax.Modified, settings: syntax.With | None, bind: str | None, elaborate: Callable[..., Value]
) -> Value:
    target = node.value
    if settings is None:
        return elaborate(cx, target, bind)
    if isinstance(target, syntax.Each | syntax.Repeat):
        word = "each" if isinstance(target, syntax.Each) else "repeat"
        head = "each x in xs" if word == "each" else "repeat"
        where = f"before the block: `{head} with {{ … }} {{ … }}`"
        cx.report("misplaced-construct", settings, what="`with`", where=where)
        return elaborate(cx, target, bind)
    is_group = isinstance(target, syntax.ListExpr | syntax.RecordExpr)
    symbol = symbol_of(cx.module, target.func if isinstance(target, syntax.Call) else target)
    is_child = symbol is not None and symbol.kind == "flow"
    place: Place = "group" if is_group else "child" if is_child else "step"
    row = read_row(Reader(cx), settings.settings.entries, place)
    join_by, cancel_rest = row.pop("join", None), row.pop("cancel_rest", None)
    if isinstance(target, syntax.Call) and symbol is not None:
        return call(cx, target, bind, row)
    if symbol is not None and cx.pipe is not None and elaborate is not Context.expr:
        return call_bare(cx, target, symbol, bind, row)
    inner = cx.derive(rows=(*cx.rows, row) if row else cx.rows)
    value = elaborate(inner, target, None if is_group else bind)
    if is_group and (join_by is not None or cancel_rest is not None):
        return _join(inner, node, value, join_by, bool(cancel_rest), bind)
    if not inner.out and value.type != ERROR:
        cx.report("modifier-without-step", settings, word="with")
    return value


def _join(
    cx: Context, node: syntax.Modified, value: Value, join_by: str | int | None, cancel_rest: bool, bind: str | None
) -> Value:
    """A group that ends with its first, or its n-th, success."""
    if value.type == ERROR:
        return value
    if join_by is None:
        hint = 'add `join: "first"` or `join: n`'
        cx.report("misplaced-setting", node, name="cancel_rest", where="a group without `join`", hint=hint)
        return value
    if value.expr[0] not in ("list", "record"):
        hint = "write the fields of the spread out"
        cx.report("misplaced-setting", node, name="join", where="a group with a spread `...`", hint=hint)
        return value
    members = value.expr[1:] if value.expr[0] == "list" else [entry[1] for entry in value.expr[1]]
    wanted = 1 if join_by == "first" else int(join_by)
    if wanted > len(members):
        cx.report("join-never-ends", node, n=wanted, count=len(members))
        return value
    kinds = _member_types(value.type)
    kind = kinds[0] if kinds else NULL
    for other in kinds[1:]:
        kind = join(kind, other)
    named = value.expr[0] == "record"
    found = [_member_id(cx, node, expr, kinds[place] if named else kind) for place, expr in enumerate(members)]
    ids = tuple(id for id in found if id is not None)
    if len(ids) < len(found):
        return BROKEN  # a member was reported
    fields = [entry[0] for entry in value.expr[1]] if named else []
    result: Type = kind if join_by == "first" else ListOf(kind)
    if fields:
        result = Record(tuple(zip(fields, map(optional, kinds), strict=True)))
    name = cx.state.step_name(bind) if bind else ""
    header = cx.header(node, name, result)
    parts = [tuple(dict.fromkeys((*made, id))) for made, id in zip(value.made, ids, strict=True)]
    first = join_by == "first"
    step = ir.JoinStep(**header, members=ids, parts=tuple(parts), n=wanted, first=first, cancel_rest=cancel_rest,
                       names=tuple(fields))  # fmt: skip
    cx.emit(step)
    return read(header["id"], result)._replace(step=header["id"], members=ids)


def _member_types(kind: Type) -> list[Type]:
    return [kind.item] if isinstance(kind, ListOf) else [field for _, field in getattr(kind, "fields", ())]


def _member_id(cx: Context, node: syntax.Node, expr: ir.Expr, kind: Type) -> int | None:
    if expr[0] in ("ref", "opt"):
        return int(expr[1])
    return cx.keep(node, Value(expr, kind)).step


# ---- catch and on ---------------------------------------------------------------------------------------------------


def _catch(
    cx: Context, node: syntax.Modified, catch: syntax.Catch, value: Value, steps: list[ir.Step], name: str
) -> Value:
    if not steps and value.type != ERROR:
        cx.report("modifier-without-step", catch, word="catch")
        return value
    error_id = cx.state.new_id()
    handler = cx.inside(pipe=None)
    handler.declare(catch.name, Value(["ref", error_id], FAILURE))
    result = cx.shared.block(handler, catch.body)
    given = Value(["lit", None], NULL, void="the handler of `catch` returns nothing") if result is None else result
    kind = _either(value, given)
    void = value.void if value.void and given.void else ""
    header = cx.header(node, name, kind)
    body = ir.Block(steps=tuple(steps), result=value.expr)
    assert handler.out is not None
    caught = ir.Block(steps=tuple(handler.out), result=given.expr)
    cx.emit(ir.CatchStep(**header, body=body, error_id=error_id, handler=caught))
    return read(header["id"], kind)._replace(step=header["id"], void=void)


def _either(value: Value, given: Value) -> Type:
    """The type of what is caught or given instead."""
    if value.void or value.type == NULL:
        return join(NULL, given.type)
    return join(value.type, given.type)
