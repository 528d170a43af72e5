"""The items of a part of an `each`, as bytes, without building the rest."""

from __future__ import annotations

from collections.abc import Callable

from flowc.plan import EachNode

from flowrun import sequences, wire
from flowrun.messages import Failure

from .arguments import Inputs
from .failures import TaskFailed

__all__ = ["item_parts", "source_items"]


def item_parts(node: EachNode, inputs: Inputs, first: int, last: int) -> Callable[[int], list[bytes]]:
    """For a position from first to last - 1, what the names of the item mean. Raises ExpressionError and StoreError."""
    if node.source[0] == "in":
        # the common case, a list: its part is cut out at once
        part = wire.resolve(wire.part(inputs.data[node.source[1]], first, last), inputs.fetch)
        source, shift = sequences.of_bytes(["in", 0], [part]), first
    else:
        source, shift = sequences.of_bytes(node.source, inputs.data), 0
        if source is None:
            source = _fetched(node, inputs)
    assert source is not None
    found = source
    if node.unpack:
        return lambda index: found.parts(index - shift, node.unpack)
    return lambda index: [found.item(index - shift)]


def source_items(node: EachNode, inputs: Inputs) -> bytes:
    """All items of a source whose length is not known without its blobs, as a list. Raises as `item_parts`, and
    TaskFailed (TooManyItems)."""
    source = _fetched(node, inputs)
    if node.max is not None and len(source) > node.max:
        message = f"there are {len(source):,} items, and `max` allows {node.max:,}: raise it, or pass fewer"
        raise TaskFailed(Failure("TooManyItems", message, retryable=False))
    return source.packed(0, len(source))


def _fetched(node: EachNode, inputs: Inputs) -> sequences.Source[bytes]:
    source = sequences.of_bytes(node.source, [wire.resolve(data, inputs.fetch) for data in inputs.data])
    assert source is not None, "no blob is left"
    return source
