"""Which function elaborates which expression."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flowc import syntax

from .branches import coalesce, if_expression, match
from .calls import call
from .context import Context, Elaborator, Value
from .expressions import attribute, binary, comprehension, index, literal, logic, name, slice_of, template, unary
from .groups import chain, list_of, record
from .loops import each, repeat
from .modifiers import modified

__all__ = ["ELABORATORS"]


def _binary(cx: Context, node: syntax.Binary, bind: str | None = None) -> Value:
    if node.op == "??":
        return coalesce(cx, node, bind)
    return logic(cx, node) if node.op in ("and", "or") else binary(cx, node)


ELABORATORS: Mapping[type, Elaborator] = MappingProxyType(
    {
        syntax.Name: name,
        syntax.Literal: literal,
        syntax.Template: template,
        syntax.ListExpr: list_of,
        syntax.RecordExpr: record,
        syntax.Unary: unary,
        syntax.Binary: _binary,
        syntax.Attr: attribute,
        syntax.Index: index,
        syntax.Slice: slice_of,
        syntax.Call: call,
        syntax.IfExpr: if_expression,
        syntax.Match: match,
        syntax.Comprehension: comprehension,
        syntax.Each: each,
        syntax.Repeat: repeat,
        syntax.Chain: chain,
        syntax.Modified: modified,
    }
)
