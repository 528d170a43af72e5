"""`dataset("s3://lake/sales")`: the name of data that steps read and update, and that starts flows."""

from __future__ import annotations

from flowc import syntax
from flowc.types import ERROR, Literals

from .setting_values import Reader
from .targets import callee_name

__all__ = ["dataset_name", "dataset_names"]


def dataset_names(reader: Reader, node: syntax.Expression, name: str) -> tuple[str, ...] | None:
    """The value of `updates` and `reads`: a dataset, or a list of them."""
    nodes = node.items if isinstance(node, syntax.ListExpr) else (node,)
    found = [_one(reader, item, name) for item in nodes]
    return None if None in found else tuple(dict.fromkeys(one for one in found if one is not None))


def _one(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    """`dataset("…")`; in Python and TOML the name alone."""
    if isinstance(node, syntax.Call) and callee_name(node.func) == "dataset" and len(node.args) == 1:
        return dataset_name(reader, node.args[0].value, "dataset")
    if reader.is_plain:
        return dataset_name(reader, node, name)
    hint = f'write `{name}: dataset("s3://lake/sales")`, or a list of them'
    reader.wrong(node, name, "a dataset", reader.place.source_text(node), hint)
    return None


def dataset_name(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    """The constant text that names a dataset."""
    value = reader.constant(node, name)
    if value is None or value.type == ERROR:
        return None
    text = value.expr[1] if value.expr[0] == "lit" else None
    if not isinstance(text, str) or not text.strip():
        found = '""' if isinstance(value.type, Literals) else reader.place.source_text(node)
        reader.wrong(node, name, "a constant text", found, 'write `dataset("s3://lake/sales")`')
        return None
    return text
