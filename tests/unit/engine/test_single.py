"""A run of one task that is kept as its submission and its result is what it would be had it begun like all others."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from flowc.plan import ConcurrencyDef, Plan, RetryPolicy, StepSettings
from flowrun import messages as m
from flowrun import values
from flowrun.engine import Changed, Engine
from flowrun.engine.snapshot import pack_run
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engine import builders as b

SECONDS = struct.pack("<f", 0.25)
RUNS = ("r0", "r1")


def plan(**changes: Any) -> Plan:
    settings = changes.pop("settings", (StepSettings(retry=RetryPolicy(max=1, first_ms=0)),))
    return b.flow(b.task("t", 1), params=(b.param("x"),), result=2, settings=settings, **changes)


def engine(of: Plan, watched: Sequence[str] | None) -> Engine:
    found = Engine()
    found.add_plan("plan", of)
    found.watched = watched
    return found


def submit(run: str, **changes: Any) -> m.Submit:
    return m.Submit(run, "plan", values.encode({"x": 3}), client="c", **changes)


def outcome(run: str, state: Any = "success", attempt: int = 1, value: bytes = b"\x07", **more: Any) -> m.Outcome:
    return m.Outcome(run, 0, 2, attempt, state, value=value, seconds=SECONDS, **more)


def results(*outcomes: m.Outcome) -> m.Results:
    return m.Results("b", "w", outcomes)


def packed(of: Engine) -> dict[str, bytes]:
    """All of the state, as if each run had begun like all others."""
    runs = {name: pack_run(run) for name in of.living() if (run := of.peek(name))}
    return runs | {"rest": of.pack_rest()}


def restored(of: Engine) -> Engine:
    found = engine(plan(), ())
    found.restore(of.pack_rest(), [(name, of.pack_run(name)) for name in of.take_touched()])
    return found


def commands(of: Engine, event: m.Event, seq: int) -> list[Any]:
    """What is asked for, but for what is told to live views."""
    return [one for one in of.decide(event, 1_000 + seq, seq) if not isinstance(one, Changed)]


_EVENTS = st.lists(
    st.one_of(
        st.builds(submit, st.sampled_from(RUNS), priority=st.sampled_from((None, 3)), key=st.sampled_from(("", "k"))),
        st.builds(submit, st.sampled_from(RUNS), expires_ms=st.just(1_003)),
        st.lists(
            st.builds(
                outcome,
                st.sampled_from(RUNS),
                st.sampled_from(("success", "failed", "skipped", "returned")),
                st.integers(1, 2),
                st.sampled_from((b"\x07", b"\xc1", b"")),
            ),
            min_size=1,
            max_size=3,
        ).map(lambda outcomes: results(*outcomes)),
        st.builds(m.Cancel, st.sampled_from(RUNS), st.just("why"), st.sampled_from(("", "t"))),
    ),
    max_size=12,
)


@given(_EVENTS, st.sampled_from(((), ("r0",))))
def test_it_is_decided_alike(events: list[m.Event], watched: tuple[str, ...]) -> None:
    short, long = engine(plan(), watched), engine(plan(), None)
    for seq, event in enumerate(events, 1):
        assert commands(short, event, seq) == commands(long, event, seq)
        assert packed(short) == packed(long)
        assert sorted(short.ended()) == sorted(long.ended())
        assert [short.record(run) for run in sorted(short.ended())] == [
            long.record(run) for run in sorted(long.ended())
        ]
        assert sorted(short.outstanding(), key=repr) == sorted(long.outstanding(), key=repr)
        assert short.ignored == long.ignored


@given(_EVENTS)
def test_it_is_restored_alike(events: list[m.Event]) -> None:
    short = engine(plan(), ())
    for seq, event in enumerate(events, 1):
        short.decide(event, 1_000 + seq, seq)
    again = restored(short)
    assert packed(again) == packed(short)
    assert [again.record(run) for run in sorted(again.ended())] == [short.record(run) for run in sorted(short.ended())]
    assert sorted(again.outstanding(), key=repr) == sorted(short.outstanding(), key=repr)
    finish = results(outcome("r0"), outcome("r1"))
    assert commands(again, finish, 99) == commands(short, finish, 99)


def test_of_a_plan_that_is_lost_the_result_is_known() -> None:
    short = engine(plan(), ())
    short.decide(submit("r0"), 1_000, 1)
    short.decide(results(outcome("r0")), 1_001, 2)
    again = Engine()
    again.restore(short.pack_rest(), [("r0", short.pack_run("r0"))])
    record = again.record("r0")
    assert (record.state, record.result, record.flow, record.steps) == ("success", b"\x07", "test", ())


def test_nothing_but_its_submission_and_its_result_is_kept() -> None:
    one = engine(plan(), ())
    one.decide(submit("r0"), 1_000, 1)
    one.decide(results(outcome("r0")), 1_001, 2)
    assert list(one.singles) == ["r0"]
    assert not one.runs
    one.forget("r0")
    assert not one.living()
    assert one.is_known("r0")


@pytest.mark.parametrize(
    "changes",
    [
        {"timeout_ms": 1_000},
        {"concurrency": ConcurrencyDef(limit=1)},
        {"max_active_runs": 1},
        {"settings": (StepSettings(delay_ms=1_000),)},
    ],
)
def test_a_flow_of_more_than_a_task_begins_as_usual(changes: dict[str, Any]) -> None:
    one = engine(plan(**changes), ())
    one.decide(submit("r0"), 1_000, 1)
    assert list(one.runs) == ["r0"]


def test_arguments_that_do_not_fit_are_told_as_usual() -> None:
    one = engine(plan(), ())
    one.decide(m.Submit("r0", "plan", values.encode({"y": 3})), 1_000, 1)
    error = one.record("r0").error
    assert error is not None
    assert error.type == "TypeMismatch"


def test_the_engine_that_fails_on_one_gives_it_up() -> None:
    one = engine(plan(), ())
    one.decide(submit("r0"), 1_000, 1)
    one.abandon("r0")
    assert not one.living()
    assert one.is_known("r0")
