"""Random canvases: nested chains, groups, chords and maps of a few tasks, some of which fail, or are replaced."""

from __future__ import annotations

import random
from typing import Any

from flowrun.canvas import Celery, Extend, Replace, Signature, chain, chord, group

__all__ = ["canvas"]

app = Celery("random", set_as_current=False)
#: deeper ones are single calls
DEEPEST = 3


@app.task
def add(x, y):  # type: ignore[no-untyped-def]
    return total(x) + y


@app.task
def mul(x, y):  # type: ignore[no-untyped-def]
    return total(x) * y


def total(x: Any) -> int:
    """The sum of a number, or of numbers in lists."""
    return sum(map(total, x)) if isinstance(x, list) else x


@app.task
def refuse(x, y):  # type: ignore[no-untyped-def]
    if total(x) % 5 == 0:
        raise ValueError(f"{total(x)} is refused")
    return total(x) + y


@app.task
def become(x, seed):  # type: ignore[no-untyped-def]
    return Replace(canvas(random.Random(seed + total(x)), DEEPEST - 1))


@app.task
def extend(x, y):  # type: ignore[no-untyped-def]
    return Extend(total(x), [add.s(y, i) for i in range(abs(total(x)) % 3)])


def canvas(rng: random.Random, depth: int = 0, given: bool = False, member: bool = False) -> Signature:
    """With a value before it, or without; as the member of a group, or not."""
    kind = rng.choice(("call", "call", "chain", "group", "alike", "chord", "map")) if depth < DEEPEST else "call"
    if kind == "chain":
        parts = rng.randint(2, 3)
        return chain(*(canvas(rng, depth + 1, given or i > 0, member and i == parts - 1) for i in range(parts)))
    if kind == "group":
        return group([canvas(rng, depth + 1, given, True) for _ in range(rng.randint(0, 3))])
    if kind == "alike":
        seed = rng.random()
        return group(
            [_numbered(canvas(random.Random(seed), depth + 1, given, True), i) for i in range(rng.randint(1, 4))]
        )
    if kind == "chord":
        header = [canvas(rng, depth + 1, given, True) for _ in range(rng.randint(1, 3))]
        return chord(header, canvas(rng, depth + 1, True, member))
    if kind == "map":
        pairs = [(rng.randint(-9, 9), rng.randint(1, 3)) for _ in range(rng.randint(0, 5))]
        return rng.choice((add.starmap(pairs), add.chunks(pairs, 2)))
    return _call(rng, given, member)


def _call(rng: random.Random, given: bool, member: bool) -> Signature:
    tasks = [add, add, mul, refuse, become] + [extend] * member
    task, last = rng.choice(tasks), rng.randint(1, 9)
    return task.s(last) if given else task.s(rng.randint(-9, 9), last)  # type: ignore[no-any-return]


def _numbered(found: Any, number: int) -> Any:
    """The same with other numbers."""
    if hasattr(found, "args"):
        found.args = tuple(arg + number for arg in found.args)
    return found
