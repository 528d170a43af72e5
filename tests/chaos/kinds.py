"""The kinds of work that a chaos run submits, at random; and of each piece how it must end.

What a task gives follows from its arguments alone, so the value of every run is known before it is submitted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["GATES", "Piece", "draw", "step_value"]

#: pools, concurrency keys and the like of project/main.flow -> how many may hold them at the same time
GATES = {"trio": 3, "solo": 1, "few": 3, "k0": 1, "k1": 1, "k2": 1, "k3": 1, "k4": 1, "k5": 1}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something to submit. Fields as in `history.Submission` mean the same."""

    kind: str
    #: a flow of the project, or "" for the single task `task`
    flow: str = ""
    task: str = "work"
    args: Mapping[str, Any] = field(default_factory=dict)
    #: of the task: executor, retry, …
    settings: Mapping[str, Any] = field(default_factory=dict)
    state: str = "success"
    value: Any = None
    failed_step: str = ""
    effects: tuple[tuple[str, int | None], ...] = ()
    tasks: int = 1
    program: int = -1
    #: seconds; 0: at once
    delay: float = 0.0
    #: it is cancelled so long after it was accepted, in seconds; 0: it is not
    cancel_after: float = 0.0
    #: it has a key, and is submitted again with this argument `n`; None: neither
    again: int | None = None


def step_value(n: int) -> int:
    """What `work` and its like give."""
    return (3 * n + 1) % 1009


def draw(chance: random.Random, programs: Sequence[int]) -> Piece:
    """`programs`: numbers of random programs."""
    kinds = [kind for kind, _ in _KINDS]
    make = chance.choices(kinds, [weight for _, weight in _KINDS])[0]
    if make is _program and not programs:
        make = _single
    return make(chance, programs)


def _n(chance: random.Random) -> int:
    return chance.randrange(1000)


def _ms(chance: random.Random) -> int:
    """How long a task takes: mostly little, at times long enough to be killed in it."""
    return chance.choices((0, chance.randrange(5, 40), chance.randrange(300, 1500)), (50, 42, 8))[0]


def _steps(names: str) -> tuple[tuple[str, int | None], ...]:
    return tuple((name, None) for name in names.split())


def _items(name: str, count: int) -> tuple[tuple[str, int | None], ...]:
    return tuple((name, index) for index in range(count))


def _single(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms = _n(chance), _ms(chance)
    task = chance.choices(("work", "nap"), (3, 1))[0]
    settings: dict[str, Any] = {}
    if task == "work" and chance.random() < 0.25:
        settings["executor"] = chance.choice(("async", "thread"))
    return Piece(
        kind="task", task=task, args={"n": n, "ms": ms}, settings=settings, value=step_value(n),
        effects=_steps(task),
    )  # fmt: skip


def _delayed_task(chance: random.Random, programs: Sequence[int]) -> Piece:
    return replace(_single(chance, programs), kind="delayed task", delay=chance.uniform(0.3, 8))


def _twice(chance: random.Random, programs: Sequence[int]) -> Piece:
    return replace(_single(chance, programs), kind="key twice", again=_n(chance))


def _never(chance: random.Random, programs: Sequence[int]) -> Piece:
    """Cancelled before it begins."""
    piece = replace(_single(chance, programs), kind="never", delay=chance.uniform(300, 400), state="cancelled")
    return replace(piece, cancel_after=chance.uniform(0.05, 3), effects=())


def _fused(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms = _n(chance), _ms(chance)
    flow = chance.choice(("fused", "mixed", "delayed"))
    value = step_value(step_value(n))
    steps = "a b" if flow == "delayed" else "a b c"
    value = value if flow == "delayed" else step_value(value)
    return Piece(
        kind=flow, flow=flow, args={"n": n, "ms": ms}, value=value, effects=_steps(steps), tasks=len(steps.split())
    )


def _grouped(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms = _n(chance), _ms(chance)
    value = 3 * step_value(n)
    return Piece(
        kind="grouped", flow="grouped", args={"n": n, "ms": ms}, value=value, effects=_steps("a b c s"), tasks=4
    )


def _spread(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms, count = _n(chance), min(_ms(chance), 100), chance.randrange(0, 13)
    args = {"n": n, "ms": ms, "count": count}
    if chance.random() < 0.6:
        value, effects = sum(step_value(n + i) for i in range(count)), _items("work", count)
        return Piece(
            kind="spread", flow="spread", args=args, value=value, effects=(*effects, ("s", None)), tasks=count + 1
        )
    value = sum(step_value(step_value(n + i)) for i in range(count))
    effects = (*_items("a", count), *_items("b", count), ("s", None))
    return Piece(kind="scoped", flow="scoped", args=args, value=value, effects=effects, tasks=2 * count + 1)


def _pooled(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms, count = _n(chance), chance.randrange(5, 60), chance.randrange(1, 6)
    value = sum(step_value(n + i) for i in range(count)) + step_value(n)
    return Piece(
        kind="pooled", flow="pooled", args={"n": n, "ms": ms, "count": count}, value=value,
        effects=(*_items("guarded", count), ("a", None), ("s", None)), tasks=count + 2,
    )  # fmt: skip


def _retried(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms, fails = _n(chance), min(_ms(chance), 200), chance.randrange(0, 4)
    return Piece(
        kind="retried", flow="retried", args={"n": n, "ms": ms, "fails": fails}, value=step_value(step_value(n)),
        effects=_steps("a b"), tasks=2 + fails,
    )  # fmt: skip


def _by_key(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms = _n(chance), chance.randrange(5, 150)
    if chance.random() < 0.3:
        return Piece(kind="few", flow="few", args={"n": n, "ms": ms}, value=step_value(n), effects=_steps("a"))
    gate = f"k{chance.randrange(6)}"
    return Piece(
        kind="by key", flow="by_key", args={"n": n, "ms": ms, "gate": gate}, value=step_value(step_value(n)),
        effects=_steps("a b"), tasks=2,
    )  # fmt: skip


def _failing(chance: random.Random, programs: Sequence[int]) -> Piece:
    n = _n(chance)
    if chance.random() < 0.5:
        return Piece(
            kind="failing", flow="failing", args={"n": n}, state="failed", failed_step="b", effects=_steps("a tidy"),
            tasks=3,
        )  # fmt: skip
    return Piece(kind="rescued", flow="rescued", args={"n": n}, value=n, effects=_steps("a tidy"), tasks=3)


def _outer(chance: random.Random, programs: Sequence[int]) -> Piece:
    n, ms = _n(chance), min(_ms(chance), 200)
    value = n
    for _ in range(5):
        value = step_value(value)
    effects = _steps("a.a a.b a.c b.a b.b")
    return Piece(kind="outer", flow="outer", args={"n": n, "ms": ms}, value=value, effects=effects, tasks=6)


def _cancelled(chance: random.Random, programs: Sequence[int]) -> Piece:
    flow = chance.choice(("endless", "held"))
    args = {"n": _n(chance)} | ({"ms": 30} if flow == "held" else {})
    return Piece(kind=flow, flow=flow, args=args, state="cancelled", cancel_after=chance.uniform(0.05, 3.0), tasks=2)


def _program(chance: random.Random, programs: Sequence[int]) -> Piece:
    return Piece(kind="program", program=chance.choice(programs))


_Make = Callable[[random.Random, Sequence[int]], Piece]
_KINDS: tuple[tuple[_Make, int], ...] = (
    (_single, 34), (_delayed_task, 4), (_twice, 4), (_never, 2), (_fused, 10), (_grouped, 6), (_spread, 8),
    (_pooled, 6), (_retried, 6), (_by_key, 6), (_failing, 4), (_outer, 4), (_cancelled, 4), (_program, 10),
)  # fmt: skip
