"""Findings about types: one place says who gives, who takes, and where the two part."""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.diagnostic import Label
from flowc.suggest import did_you_mean
from flowc.types import DECIMAL, ERROR, NULL, ListOf, Literals, Optional, Record, Secret, Type

from .context import Context, Value
from .types import assignable, difference, holds_secret, is_text, required, shown

__all__ = ["accept", "adapt", "need_bool", "report_mismatch"]


def accept(
    place: Context,
    node: syntax.Node,
    value: Value,
    target: Type,
    consumer: str,
    labels: tuple[Label, ...] = (),
    finding: str = "type-mismatch",
    producer: str = "",
) -> ir.Expr:
    """The expression as `target` takes it; reports where it does not fit. `consumer` begins the message."""
    if not assignable(value.type, target):
        report_mismatch(place, node, value, target, consumer, labels, finding, producer)
    elif isinstance(required(target), Secret) and value.expr[0] == "lit" and isinstance(value.expr[1], str):
        place.report("secret-literal", node)
    return adapt(value, target)


def adapt(value: Value, target: Type) -> ir.Expr:
    """A skipped step is null for what may be null; a constant float is a decimal where one is expected."""
    expr = value.expr
    if expr[0] == "ref" and (isinstance(target, Optional) or target == NULL):
        return ["opt", expr[1]]
    if expr[0] == "lit" and isinstance(expr[1], float) and required(target) == DECIMAL:
        return ["decimal", repr(expr[1])]
    return expr


def report_mismatch(
    place: Context,
    node: syntax.Node,
    value: Value,
    target: Type,
    consumer: str,
    labels: tuple[Label, ...] = (),
    finding: str = "type-mismatch",
    producer: str = "",
) -> None:
    """Says why a value does not fit: a secret, a null, or another type."""
    fields: dict[str, Any] = {"consumer": consumer, "producer": producer or place.source_text(node)}
    labels = (*labels, *_origin(place, node))
    if holds_secret(value.type):
        place.report("secret-leak", node, labels=labels, what=f"{consumer} takes {shown(target)}")
    elif (isinstance(value.type, Optional) and assignable(value.type.inner, target)) or value.type == NULL:
        place.report(
            "optional-not-handled", node, labels=labels, expected=shown(target), found=shown(value.type), **fields
        )
    else:
        detail = difference(value.type, target)
        place.report(
            finding,
            node,
            labels=labels,
            help=_advice(value.type, target),
            expected=shown(target),
            found=shown(value.type),
            detail=f": {detail}" if detail else "",
            **fields,
        )


def _origin(place: Context, node: syntax.Node) -> tuple[Label, ...]:
    """Where the value comes from, if it is a name."""
    while isinstance(node, syntax.Attr | syntax.Index):
        node = node.value
    local = place.scope.find(node.id) if isinstance(node, syntax.Name) else None
    if local is None or local.span is None or local.value.type == ERROR:
        return ()
    return (Label(span=local.span, text=f"`{local.name}` is {shown(local.value.type)}"),)


def _advice(source: Type, target: Type) -> str | None:
    """What to do about a common mismatch; None leaves the entry's own help."""
    source, wanted = required(source), required(target)
    unit = _UNITS.get(getattr(wanted, "name", ""))
    if isinstance(source, Literals) and unit is not None:
        return f"write it without quotes, as {unit}"
    if unit is not None and getattr(source, "name", "") in ("int", "float") and "date" not in wanted.name:  # type: ignore[union-attr]
        return f"write it with a unit, as {unit}"
    if isinstance(wanted, Literals) and isinstance(source, Literals):
        near = did_you_mean(source.values[0], wanted.values)
        return near.replace("`", '"') if near else "write one of " + ", ".join(f'"{value}"' for value in wanted.values)
    if isinstance(wanted, Literals) and is_text(source):
        return "declare the value with the same union of literals, or choose with `match`"
    if isinstance(source, ListOf) and assignable(source.item, wanted):
        return "run it for every item with `each`, or take one item with `[0]`"
    if isinstance(wanted, ListOf) and assignable(source, wanted.item):
        return "write `[…]` around the value to pass a list of one"
    name = getattr(wanted, "name", "")
    if name == "string" and not isinstance(source, ListOf | Record):
        return "write `string(…)` around the value, or put it into a text with `${…}`"
    if name in ("int", "float", "decimal", "date", "datetime") and (is_text(source) or hasattr(source, "name")):
        return f"convert it with `{name}(…)`, or change one of the two types" if _converts(source, name) else None
    return None


_UNITS = {"duration": "`30s`", "size": "`64KB`", "date": "`2026-01-31`", "datetime": "`2026-01-31T10:00`"}


def _converts(source: Type, name: str) -> bool:
    from_number = getattr(source, "name", "") in ("int", "float", "decimal", "size")
    return is_text(source) or (name in ("int", "float", "decimal") and from_number)


def need_bool(place: Context, node: syntax.Node, value: Value, what: str) -> None:
    """Reports a condition that is not a bool."""
    kind = value.type
    if kind == ERROR or getattr(kind, "name", "") in ("bool", "json"):
        return
    if holds_secret(kind):
        report_mismatch(place, node, value, kind, what)
        return
    written = place.source_text(node, "x").strip("`")
    if isinstance(kind, Optional):
        advice = (
            f"write `{written} ?? false`" if getattr(kind.inner, "name", "") == "bool" else f"write `{written} != null`"
        )
    elif is_text(kind):
        advice = f'write `{written} != ""`'
    elif isinstance(kind, ListOf):
        advice = f"write `len({written}) > 0`"
    else:
        advice = (
            f"write `{written} != 0`"
            if getattr(kind, "name", "") in ("int", "float", "size")
            else "compare it: `x == …`"
        )
    place.report("condition-not-bool", node, help=advice, what=what, found=shown(kind))
