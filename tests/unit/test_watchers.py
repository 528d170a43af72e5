"""Who looks on is told what is known and what changes, for as long as it says so; others are told nothing."""

from __future__ import annotations

import asyncio

from flowc.plan import digest
from flowc.plan import encode as encode_plan
from flowrun.engine import Engine
from flowrun.engine.commands import Changed
from flowrun.memory import run_virtual
from flowrun.messages import Cancel, Ended, Listing, Query, StateNote, Submit, ToClient, Watch
from flowrun.watchers import Watchers

from tests.support.plans import call, flow_plan, task

PLAN = flow_plan((call("only", 0, (1,)),), (task("t", "m:f", "a"),), params=("x",))
DIGEST = digest(encode_plan(PLAN))


class World:
    def __init__(self) -> None:
        self.engine = Engine()
        self.engine.add_plan(DIGEST, PLAN)
        self.sent: list[tuple[str, ToClient]] = []
        self.watchers = Watchers(self.engine, "3", 0.1, lambda client, note: self.sent.append((client, note)))

    def submit(self, run: str, now_ms: int = 1) -> None:
        self.decide(Submit(run, DIGEST, b"\x81\xa1x\x01"), now_ms)

    def decide(self, event: Submit | Cancel, now_ms: int) -> None:
        for command in self.engine.decide(event, now_ms, now_ms):
            if isinstance(command, Changed):
                self.watchers.changed(command.run, command.steps)
        self.watchers.flush()

    def took(self) -> list[tuple[str, ToClient]]:
        sent, self.sent = self.sent, []
        return sent


def test_it_is_told_at_once_and_of_changes_while_it_says_so() -> None:
    async def main() -> None:
        world = World()
        world.submit("r")
        world.watchers.watch(Watch("r", "c1", steps=True))
        world.watchers.watch(Watch("r", "c2"))
        (who, note), (other, empty) = world.took()
        assert (who, other) == ("c1", "c2")
        assert isinstance(note, StateNote)
        assert [(step.step, step.state) for step in note.steps] == [("only", "running")]
        assert empty == StateNote("r", "running", ())
        world.decide(Cancel("r"), 2)
        [(who, note)] = world.took()
        assert isinstance(note, StateNote)
        assert (who, note.steps[0].state) == ("c1", "cancelled")
        assert sorted(world.watchers.ended("r")) == ["c1", "c2"]
        assert list(world.watchers.ended("r")) == []

    run_virtual(main())


def test_who_is_silent_is_forgotten_and_costs_nothing() -> None:
    async def main() -> None:
        world = World()
        world.submit("r")
        world.watchers.watch(Watch("r", "c", steps=True))
        assert world.engine.watched is not None
        assert "r" in world.engine.watched
        await asyncio.sleep(4)
        world.watchers.forget_silent()
        assert "r" in world.engine.watched
        await asyncio.sleep(2)
        world.watchers.forget_silent()
        assert "r" not in world.engine.watched
        world.took()
        world.decide(Cancel("r"), 2)
        assert world.took() == []

    run_virtual(main())


def test_runs_that_ended_and_that_nobody_knows() -> None:
    async def main() -> None:
        world = World()
        world.watchers.watch(Watch("unknown", "c"))
        assert world.took() == []
        world.submit("r")
        world.decide(Cancel("r"), 2)
        world.watchers.watch(Watch("r", "c"))
        [(_, note)] = world.took()
        assert isinstance(note, Ended)
        assert note.records[0].state == "cancelled"
        world.engine.forget("r")
        world.watchers.watch(Watch("r", "c"))
        assert world.took() == [("c", Ended((), ("r",)))]

    run_virtual(main())


def test_a_listing() -> None:
    async def main() -> None:
        world = World()
        for i in range(5):
            world.submit(f"r{i}", i + 1)
        world.decide(Cancel("r1"), 9)
        world.engine.forget("r1")
        for query, total, runs in (
            (Query("c", "q", limit=2), 4, ["r4", "r3"]),
            (Query("c", "q", run="r2"), 1, ["r2"]),
            (Query("c", "q", run="r1"), 0, []),
            (Query("c", "q", flow="test"), 4, ["r4", "r3", "r2", "r0"]),
            (Query("c", "q", flow="other"), 0, []),
        ):
            world.watchers.query(query)
            [(_, listing)] = world.took()
            assert isinstance(listing, Listing)
            assert (listing.id, listing.partition, listing.total) == ("q", "3", total)
            assert [summary.run for summary in listing.runs] == runs
            assert all(summary.steps == {"running": 1} for summary in listing.runs)

    run_virtual(main())
