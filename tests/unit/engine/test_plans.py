"""Plans that no run is of are forgotten; those of runs that live, sleep or were never unfolded are not."""

from __future__ import annotations

from flowrun import messages as m
from flowrun.engine import Engine

from tests.unit.engine import builders as b


def engine(count: int) -> Engine:
    found = Engine()
    for number in range(count):
        nodes = (b.task("t"),) if number % 2 else (b.task("t"), b.task("u", 1))
        found.add_plan(f"p{number}", b.flow(*nodes, result=len(nodes)))
    return found


def test_plans_of_living_runs_stay() -> None:
    found = engine(8)
    for number in (1, 2, 3, 4):  # 1 and 3 are runs of one task
        found.decide(m.Submit(f"r{number}", f"p{number}", b"\x80"), 1, number)
    found.freeze()
    found.freeze()
    found.decide(m.Submit("r5", "p5", b"\x80"), 1, 5)
    assert found.forget_plans() == {"p1", "p2", "p3", "p4", "p5"}
    assert found.tables.keys() == {"p1", "p2", "p3", "p4", "p5"}
    assert found.needs(m.Submit("again", "p7", b"\x80")) == "p7"


def test_plans_of_ended_runs_go_once_their_record_is_stored() -> None:
    found = engine(4)
    for number in (1, 2):
        found.decide(m.Submit(f"r{number}", f"p{number}", b"\x80"), 1, number)
        found.decide(m.Cancel(f"r{number}"), 2, 10 + number)
    assert found.forget_plans() == {"p1", "p2"}
    assert found.record("r2").state == "cancelled"
    found.forget("r1")
    assert found.forget_plans() == {"p2"}
