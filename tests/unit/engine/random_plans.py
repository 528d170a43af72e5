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
        self.children: dict[str, p.Plan] = {}

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

        def repaired(key: object, *given: object) -> object:
            if fate == "K":
                raise Skip
            return value or name

        function.keyed = repaired.keyed = True  # type: ignore[attr-defined]
        function.repaired = repaired  # type: ignore[attr-defined]
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
            kinds = ["task"] * 5 + ["value", "branch", "catch", "join", "using"]
            kinds += ["each", "each", "repeat", "child"] if depth else []
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

    def _using(self, nodes: list[Any], known: int, depth: int) -> None:
        nodes.append(self.task(known))
        nodes.append(b.task(self.name(), known))
        gate = b.branch(["lit", 0], after=(b.after("teardown", known, known + 1, setups=(known,)),), handler=-2)
        nodes.append(gate)
        nodes.append(b.task(self.name(), known, guard=(known + 2, 0), handler=-2))

    def _repeat(self, nodes: list[Any], known: int, depth: int) -> None:
        count = b.value(["op", "+", ["??", ["in", 0], ["lit", 0]], ["lit", 1]], 0)
        self.blocks.append(b.block(count, self.task(1), params=1, result=1))
        until = b.value(["op", ">=", ["in", 0], ["lit", self.rng.randint(1, 3)]], 0)
        self.blocks.append(b.block(until, params=1, result=1))
        body = len(self.blocks) - 1
        every = self.rng.choice((0, 700))
        node = p.RepeatNode(name=f"r{known}_{self.count}", body=body, until=body + 1, every_ms=every, max=2)
        nodes.append(node)

    def _child(self, nodes: list[Any], known: int, depth: int) -> None:
        self.count += 1
        key = f"c{self.count}"
        inner = _Maker(self.rng)
        inner.count, inner.functions, inner.children = self.count, self.functions, self.children
        self.children[key] = inner.flow(self.rng.randint(1, 4), depth - 1)
        self.count = inner.count
        # without a pool: a child that holds slots which its own steps wait for would wait for ever
        settings = self.rng.choice((0, len(SETTINGS) - 1))
        nodes.append(p.ChildNode(name=f"s{known}_{self.count}", flow=key, args=(), settings=settings))

    def flow(self, size: int, depth: int, **more: Any) -> p.Plan:
        nodes = self.block(1, size, depth)
        handlers = []
        for event in ("success", "failure"):
            self.blocks.append(b.block(b.task(self.name(), 0, handler=-2), params=1))
            handlers.append(p.HandlerDef(event=event, block=len(self.blocks)))  # type: ignore[arg-type]
        return b.flow(
            *nodes,
            result=self.rng.choice((-1, len(nodes))),
            blocks=tuple(self.blocks),
            handlers=tuple(handlers),
            settings=SETTINGS,
            pools=(p.PoolDef(name="db", slots=2),),
            **more,
        )


def random_plan(seed: int) -> tuple[p.Plan, Callable[[], dict[str, Callable[..., object]]]]:
    """A plan, and what makes its tasks' functions anew (some of them count)."""

    def make() -> tuple[p.Plan, dict[str, Callable[..., object]]]:
        maker = _Maker(random.Random(seed))
        plan = maker.flow(maker.rng.randint(3, 10), 2, children=maker.children)
        return plan, maker.functions

    return make()[0], lambda: make()[1]
