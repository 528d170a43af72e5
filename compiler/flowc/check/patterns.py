"""The types of what a pattern names: `p in xs`, `(a, b) in pairs`."""

from __future__ import annotations

from functools import reduce

from flowc import syntax
from flowc.types import ERROR, JSON, NULL, STRING, ListOf, MapOf, Optional, Record, Type

from .context import Context, Value
from .types import join, shown

__all__ = ["item_types"]


def item_types(cx: Context, pattern: syntax.Pattern, node: syntax.Expression, source: Value) -> tuple[Type, ...]:
    """One type per name of the pattern, over the items of a list or the pairs of a map."""
    count = len(pattern.names)
    kind = source.type
    unknown = (ERROR,) * count
    if kind == ERROR:
        return unknown
    if kind == JSON:
        return (JSON,) * count
    if isinstance(kind, Optional) or kind == NULL:
        producer = cx.source_text(node)
        cx.report(
            "optional-not-handled", node, help="write `?? []` for no items", consumer="the loop", expected="a list",
            producer=producer, found=shown(kind),
        )  # fmt: skip
        return unknown
    if isinstance(kind, Record) and kind.fields and pattern.is_tuple:
        kind = MapOf(reduce(join, (field for _, field in kind.fields)))
    if isinstance(kind, MapOf):
        return _of_map(cx, pattern, kind)
    if not isinstance(kind, ListOf):
        producer = cx.source_text(node)
        cx.report(
            "type-mismatch", node, help="a loop goes over a list, or over a map as `(key, value)`", consumer="the loop",
            expected="a list", producer=producer, found=shown(kind), detail="",
        )  # fmt: skip
        return unknown
    return _of_list(cx, pattern, source, kind) if pattern.is_tuple else (kind.item,)


def _of_map(cx: Context, pattern: syntax.Pattern, kind: MapOf) -> tuple[Type, ...]:
    if len(pattern.names) == 2:
        return (STRING, kind.item)
    hint = "write `(key, value)`, or go over `values(…)` or `keys(…)`"
    cx.report("bad-pattern", pattern, problem="the items of a map are pairs", hint=hint)
    return (ERROR,) * len(pattern.names)


def _of_list(cx: Context, pattern: syntax.Pattern, source: Value, kind: ListOf) -> tuple[Type, ...]:
    count = len(pattern.names)
    if source.parts:
        parts = source.parts
        if len(parts) == count:
            return parts
        problem = f"an item has {len(parts)} parts, and the pattern {count} names"
        cx.report("bad-pattern", pattern, problem=problem, hint="name every part")
        return (ERROR,) * count
    if kind.item == JSON:
        return (JSON,) * count
    if isinstance(kind.item, ListOf):
        return (kind.item.item,) * count
    problem = f"an item is {shown(kind.item)}, which has no parts"
    cx.report("bad-pattern", pattern, problem=problem, hint="write one name, or go over `zip(…)` or `cross(…)`")
    return (ERROR,) * count
