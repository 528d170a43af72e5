"""What the steps of a run wait for: `Run.awaits`, from the key of what is waited for to the *places* of the steps.

A place is a scope and a node in one number. Most keys have one step, whose place stands alone; where several wait, they
are kept in the order in which they began to.
"""

from __future__ import annotations

from collections.abc import Collection

from .state import Run, Scope, entered

__all__ = ["add", "drop", "first", "node_at", "place_of", "places"]

#: nodes of a scope are fewer
_NODES = 1 << 24


def place_of(scope: Scope, node: int) -> int:
    return scope.id * _NODES + node


def node_at(place: int) -> tuple[int, int]:
    """The scope and the node of a place."""
    return divmod(place, _NODES)


def add(run: Run, key: str, place: int) -> bool:
    """A step waits for it. True: the first of the run."""
    found = run.awaits.get(key)
    if found is None:
        run.awaits = entered(run.awaits, key, place)
    elif isinstance(found, int):
        run.awaits[key] = {found: None, place: None}
    else:
        found[place] = None
    return found is None


def drop(run: Run, key: str, place: int) -> bool:
    """A step waits no more. True: it was the last of the run."""
    found = run.awaits.get(key)
    if isinstance(found, dict):
        found.pop(place, None)
        if found:
            return False
    elif found != place:
        return False
    del run.awaits[key]
    return True


def places(run: Run, key: str) -> Collection[int]:
    """The steps that wait for it, in order."""
    found = run.awaits.get(key)
    return () if found is None else (found,) if isinstance(found, int) else found


def first(run: Run, key: str) -> int | None:
    """The step that has waited for it longest; None if there is none."""
    found = run.awaits.get(key)
    return next(iter(found)) if isinstance(found, dict) else found
