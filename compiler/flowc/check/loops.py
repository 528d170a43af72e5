"""Loops: `each` over items, and `repeat … until`."""

from __future__ import annotations

from flowc import ir, syntax
from flowc.types import ERROR, FAILURE, JSON, NULL, ListOf, Optional, Type, Union

from .context import BROKEN, Context, Local, Value, With, read, returning
from .patterns import item_types
from .report import need_bool
from .setting_values import Reader
from .settings import Place, read_row
from .types import holds_secret, optional

__all__ = ["each", "repeat"]


def _settings(cx: Context, settings: syntax.RecordExpr | None, place: Place) -> With:
    return read_row(Reader(cx), settings.entries, place) if settings is not None else With()


def each(cx: Context, node: syntax.Each, bind: str | None = None) -> Value:
    """`each p in xs { … }`: its value is the list of what the body returns."""
    if cx.out is None:
        where = cx.is_constant or "this expression"
        cx.report("call-not-allowed", node, where=where, hint="only constants can stand here")
        return BROKEN
    name = cx.state.step_name(bind or "each")
    row = _settings(cx, node.settings, "each")
    own = {key: row.pop(key) for key in ("max", "concurrency", "on_error") if key in row}
    source = cx.value(node.source)
    kinds = item_types(cx, node.pattern, node.source, source)
    inner = cx.inside(depth=cx.depth + 1, rows=(*cx.rows, row) if row else cx.rows)
    items = tuple(cx.state.new_id() for _ in kinds)
    for ident, item, kind in zip(node.pattern.names, items, kinds, strict=True):
        inner.declare(ident, read(item, kind)).used = True
    result = cx.shared.block(inner, node.body)
    if result is not None and holds_secret(result.type):
        cx.report("secret-leak", node.body.statements[-1], what="the results of `each` are stored with the run")
        result = BROKEN
    kind = _each_type(result, str(own.get("on_error", "fail")))
    header = cx.header(node, name, kind)
    step = ir.EachStep(
        **header,
        source=source.expr,
        items=items,
        item_types=tuple(cx.shared.text(one) for one in kinds),
        unpack=node.pattern.is_tuple,
        body=returning(inner, node.body, result),
        **own,
    )
    cx.emit(step)
    if ERROR in (source.type, result.type if result is not None else NULL):
        return BROKEN._replace(step=step.id)
    void = "`each` without `return` gives nothing" if result is None else ""
    return read(step.id, kind)._replace(step=step.id, void=void)


def _each_type(result: Value | None, on_error: str) -> Type:
    if result is None:
        return NULL
    if on_error != "collect":
        return ListOf(result.type)
    if isinstance(result.type, Optional):
        return ListOf(optional(_or_failure(result.type.inner)))
    return ListOf(_or_failure(result.type))


def _or_failure(kind: Type) -> Type:
    if kind in (JSON, ERROR, FAILURE):
        return kind
    members = kind.members if isinstance(kind, Union) else (kind,)
    return Union((*members, FAILURE))


def repeat(cx: Context, node: syntax.Repeat, bind: str | None = None) -> Value:
    """`repeat { … } until c`: the body's `_` is the last round's value as json, null in the first."""
    if cx.out is None:
        where = cx.is_constant or "this expression"
        cx.report("call-not-allowed", node, where=where, hint="only constants can stand here")
        return BROKEN
    name = cx.state.step_name(bind or "repeat")
    row = _settings(cx, node.settings, "repeat")
    word = syntax.Ident(node.start, node.start + len("repeat"), "repeat")
    named = [
        entry.key.text for entry in (node.settings.entries if node.settings else ()) if isinstance(entry, syntax.Entry)
    ]
    if "max" not in named:
        hint = "write `repeat with { every: 30s, max: 100 } { … }`"
        cx.report("missing-setting", word, name="max", where="`repeat`", hint=hint)
    previous_id = cx.state.new_id()
    previous = Local("_", Value(["opt", previous_id], JSON), None)
    inner = cx.inside(depth=cx.depth + 1, pipe=previous)
    result = cx.shared.block(inner, node.body)
    if result is None:
        cx.report("missing-return", node.body, what="`repeat`", hint="`until` reads what the body returns, as `_`")
        result = BROKEN
    last = Local("_", Value(["ref", previous_id], result.type), None)
    test = cx.derive(pipe=last, out=None, is_constant="").value(node.until)
    need_bool(cx, node.until, test, "the condition of `until`")
    header = cx.header(node, name, result.type)
    every, most = row.get("every_ms", 0), row.get("max", 1)
    cx.emit(
        ir.RepeatStep(
            **header,
            body=returning(inner, node.body, result),
            previous_id=previous_id,
            until=test.expr,
            until_line=cx.line_of(node.until),
            every_ms=every,
            max=most,
        )
    )
    if result.type == ERROR:
        return BROKEN
    return read(header["id"], result.type)._replace(step=header["id"])
