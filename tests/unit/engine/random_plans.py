"""Random plans whose outcome must not depend on the order of events, and what their tasks do."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from flowc import plan as p

from tests.unit.engine import builders as b
from tests.unit.engine.driver import Fail, Skip

__all__ = ["random_plan"]

RULES = [
    "ok", "failed", "done", "done_any_ok", "any_ok", "any_failed", "any_done", "none_failed", "none_failed_any_ok",
    "none_skipped", "skipped", "always", "at_least",
]  # fmt: skip
SETTINGS = (
    b.settings(),
    b.settings(pool=0, priority=7),
    b.settings(pool=0, slots=2, retry=p.RetryPolicy(max=1, first_ms=500)),
    b.settings(retry=p.RetryPolicy(max=2, first_ms=0)),
)


class _Maker:
    """Fills a block; every task has a name of its own, and behaves by it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0
        self.functions: dict[str, Callable[..., object]] = {}
        self.blocks: list[p.PlanBlock] = []

    def name(self, value: object = None) -> str:
        """A new task that succeeds, fails, is skipped, or fails once, every time alike."""
        self.count += 1
        name = f"t{self.count}"
        fate = self.rng.choices("SFK1", (6, 1, 1, 1))[0]
        tries: dict[object, int] = {}

        def function(key: object, *given: object) -> object:
            tries[key] = tries.get(key, 0) + 1
            if fate == "F" or (fate == "1" and tries[key] == 1):
                raise Fail("Boom", name)
            if fate == "K":
                raise Skip
            return value or name

        function.keyed = True  # type: ignore[attr-defined]
        self.functions[name] = function
        return name

    def inputs(self, known: int) -> tuple[int | p.Input, ...]:
        count = min(known, self.rng.choice((0, 1, 1, 2)))
        return tuple(p.Input(n, self.rng.random() < 0.3) for n in self.rng.sample(range(known), count))

    def after(self, known: int) -> tuple[p.Trigger, ...]:
        if self.rng.random() > 0.25:
            return ()
        nodes = self.rng.sample(range(known), min(known, self.rng.randint(1, 3)))
        return (b.after(self.rng.choice(RULES), *nodes, n=self.rng.randint(1, 3)),)

    def block(self, params: int, size: int, depth: int) -> list[Any]:
        """The nodes after the parameters."""
        nodes: list[Any] = []
        while len(nodes) < size:
            known = params + len(nodes)
            kinds = ["task"] * 4 + ["value", "branch", "catch", "join"] + (["each", "each"] if depth else [])
            getattr(self, f"_{self.rng.choice(kinds)}")(nodes, known, depth)
        return nodes

    def task(self, known: int, value: object = None, **more: Any) -> p.TaskNode:
        settings = self.rng.randrange(len(SETTINGS))
        return b.task(self.name(value), *self.inputs(known), settings=settings, **more)

    def _task(self, nodes: list[Any], known: int, depth: int) -> None:
        nodes.append(self.task(known, after=self.after(known)))

    def _value(self, nodes: list[Any], known: int, depth: int) -> None:
        edges = self.inputs(known)
        expr = self.rng.choice((["list", *(["in", i] for i in range(len(edges)))], ["call", "len", ["lit", "abc"]]))
        nodes.append(b.value(expr, *edges, name=f"v{self.count}_{known}"))

    def _branch(self, nodes: list[Any], known: int, depth: int) -> None:
        arm = self.rng.randrange(3)
        nodes.append(b.branch(["lit", arm], after=self.after(known)))
        nodes.append(self.task(known, guard=(known, 0)))
        nodes.append(self.task(known, guard=(known, 1)))
        nodes.append(b.merge(known, known + 1, known + 2))

    def _catch(self, nodes: list[Any], known: int, depth: int) -> None:
        nodes.append(self.task(known, handler=known + 2))
        nodes.append(b.task(self.name(), known, handler=known + 2))
        nodes.append(b.outcome(known, known + 1))
        nodes.append(b.task(self.name(), known + 2, guard=(known + 2, 1)))
        nodes.append(b.merge(known + 2, known + 1, known + 3))

    def _join(self, nodes: list[Any], known: int, depth: int) -> None:
        members = self.rng.randint(1, 3)
        join = known + members
        nodes += [self.task(known, "same", handler=join) for _ in range(members)]
        nodes.append(
            p.JoinNode(name=f"j{known}_{self.count}", members=tuple(range(known, join)), n=self.rng.randint(1, members))
        )

    def _each(self, nodes: list[Any], known: int, depth: int) -> None:
        simple = self.rng.random() < 0.5
        inner = [self.task(1)] if simple else self.block(1, self.rng.randint(1, 3), depth - 1)
        self.blocks.append(b.block(*inner, params=1, result=len(inner)))
        node = b.each(
            len(self.blocks),
            ["call", "range", ["lit", self.rng.randint(0, 5)]],
            name=f"e{known}_{self.count}",
            simple=simple,
            concurrency=self.rng.choice((None, 1, 2)),
            on_error=self.rng.choice(("fail", "collect", "skip")),
            after=self.after(known),
        )
        nodes.append(node)


def random_plan(seed: int) -> tuple[p.Plan, Callable[[], dict[str, Callable[..., object]]]]:
    """A plan, and what makes its tasks' functions anew (some of them count)."""

    def make() -> tuple[p.Plan, dict[str, Callable[..., object]]]:
        maker = _Maker(random.Random(seed))
        nodes = maker.block(1, maker.rng.randint(3, 10), 2)
        plan = b.flow(
            *nodes,
            result=maker.rng.choice((-1, len(nodes))),
            blocks=tuple(maker.blocks),
            settings=SETTINGS,
            pools=(p.PoolDef(name="db", slots=2),),
        )
        return plan, maker.functions

    return make()[0], lambda: make()[1]
