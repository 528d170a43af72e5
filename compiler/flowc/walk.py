"""Every node of a syntax tree, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from operator import attrgetter

from .syntax import Node

__all__ = ["walk"]


def walk(roots: Iterable[Node]) -> Iterator[Node]:
    """The nodes and all nodes in them, in no particular order."""
    waiting: list[object] = list(roots)
    while waiting:
        part = waiting.pop()
        if isinstance(part, tuple):
            waiting.extend(part)
        elif isinstance(part, Node):
            yield part
            parts = _parts(type(part))
            if parts is not None:
                waiting.append(parts(part))


@cache
def _parts(kind: type[Node]) -> Callable[[Node], object] | None:
    """Gets the fields of a kind of node that can hold nodes: all after `start` and `end`."""
    fields = kind.__struct_fields__[2:]
    return attrgetter(*fields) if fields else None
