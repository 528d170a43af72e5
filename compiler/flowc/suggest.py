"""Did you mean? The nearest of the names that would have been right.

Nearness is the optimal string alignment distance (insert, delete, replace, swap neighbours), case ignored. A name is
near if about one character in three, at most three, differs; ties go to the first candidate.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be, or None."""
    best: str | None = None
    limit = min(3, max(1, len(name) // 3))
    wanted = name.lower()
    for candidate in candidates:
        if candidate == name:
            continue
        found = _distance(wanted, candidate.lower(), limit)
        if found is not None and found < max(len(name), len(candidate)):  # else they share nothing
            best, limit = candidate, found - 1
        if limit < 0:
            break
    return best


def did_you_mean(name: str, candidates: Iterable[str], otherwise: str = "") -> str:
    """A sentence for a finding's help: "did you mean `x`?", or `otherwise` where nothing is near."""
    found = nearest(name, candidates)
    return f"did you mean `{found}`?" if found else otherwise


def _distance(a: str, b: str, limit: int) -> int | None:
    """The distance of two strings, or None if it is above `limit`."""
    if abs(len(a) - len(b)) > limit:
        return None
    before: list[int] = []
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return None
        before, previous = previous, row
    return previous[-1] if previous[-1] <= limit else None
