"""What a trigger is made of: its source, which may be several.

An `any_of` or `all_of` is a tree whose leaves are what may come. A leaf has a *place*: its number in written order,
depth first, from 0. A source that is neither has the place 0.
"""

from __future__ import annotations

from flowc.plan import AllSource, AnySource, TriggerSource

from .partitions import owner_of

__all__ = ["Path", "home_of", "leaves", "path_to", "subject_matches"]

#: the nodes above a leaf, the outermost first: (number of the node, its kind, which of its sources, how many it has)
Path = tuple[tuple[int, type[AnySource] | type[AllSource], int, int], ...]
#: no source is nested so deeply
_DEPTH = 64


def leaves(source: TriggerSource) -> tuple[TriggerSource, ...]:
    """The leaves, by their place."""
    if isinstance(source, AnySource | AllSource):
        return tuple(leaf for part in source.sources for leaf in leaves(part))
    return (source,)


def path_to(source: TriggerSource, place: int) -> Path:
    """What stands above a leaf; nothing above one that is not there."""
    return _path(source, place, 0, 0)


def _path(source: TriggerSource, place: int, first: int, depth: int) -> Path:
    """`first`: the place of its first leaf, which with its depth tells it from all others."""
    if not isinstance(source, AnySource | AllSource):
        return ()
    start = first
    for at, part in enumerate(source.sources):
        size = len(leaves(part))
        if place < start + size:
            above = (first * _DEPTH + depth, type(source), at, len(source.sources))
            return (above, *_path(part, place, start, depth + 1))
        start += size
    return ()


def subject_matches(pattern: str, subject: str) -> bool:
    """As NATS has it: `*` is one part between dots, `>` is what is left, at least one."""
    wanted, given = pattern.split("."), subject.split(".")
    for i, part in enumerate(wanted):
        if part == ">":
            return len(given) > i
        if i >= len(given) or part not in ("*", given[i]):
            return False
    return len(wanted) == len(given)


def home_of(trigger: str, count: int) -> str:
    """The partition that a trigger, its runs and its events belong to, of `count` partitions."""
    return owner_of(f"trigger {trigger}", count)
