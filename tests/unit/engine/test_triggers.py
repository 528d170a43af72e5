"""What starts runs by itself: times, once each, whoever leads; deployments; pauses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flowc.plan import AllSource, AnySource, CustomSource, EventSource, IntervalSource, TriggerDef
from flowc.schedules import jittered
from flowrun import messages as m
from flowrun import values
from flowrun.engine import ledger, runs
from flowrun.engine.commands import Arm, Disarm
from flowrun.engine.starting import state_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine.builders import flow, param, task, value
from tests.unit.engine.shop import MINUTE, START, Shop, flow_of

EVERY = IntervalSource(every_ms=MINUTE, origin_ms=START)


def every(name: str = "t", **more: object) -> TriggerDef:
    return TriggerDef(name=name, **{"source": EVERY, **more})  # type: ignore[arg-type]


def test_each_time_starts_a_run() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.minutes(3)
    assert shop.times("f.t") == [1, 2, 3]
    run = shop.engine.peek(next(iter(shop.started)))
    assert run is not None
    assert (run.trigger, run.flow, run.plan) == ("f.t", "f", "plan of f")
    assert run.scheduled == m.Scheduled(START + MINUTE, START, START + MINUTE, "2023-11-14", "f.t")


def test_the_facts_of_a_run_are_those_of_its_window() -> None:
    shop = Shop()
    plan = flow(value(["in", 0], 0, name="facts"), task("work", 1), result=1)
    shop.deploy(flow_of("f", every(), plan=plan))
    shop.wait()
    told = values.decode_plain(shop.ready[0].inputs[0], lambda digest: b"")
    assert told["date"] == "2023-11-14"
    assert told["triggered_at"] == "2023-11-14T22:15:00Z"
    assert told["window"] == {"start": "2023-11-14T22:14:00Z", "end": "2023-11-14T22:15:00Z"}


def test_a_time_that_comes_again_starts_nothing() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.now += MINUTE
    tick = shop.due()[0]
    for _ in range(3):
        shop.post(tick)
    assert shop.times("f.t") == [1]


def test_a_time_that_comes_early_waits() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.now += MINUTE - 1
    tick = shop.due(ahead=5)[0]
    commands = shop.post(tick)
    assert shop.times("f.t") == []
    assert [type(command) for command in commands] == [Arm]
    shop.now += 1
    shop.post(tick)
    assert shop.times("f.t") == [1]


@pytest.mark.parametrize(
    ("policy", "started", "missed"), [("all", [1, 2, 3, 4, 5], 0), ("latest", [5], 4), ("skip", [5], 4)]
)
def test_what_was_missed_starts_what_the_policy_says(policy: str, started: list[int], missed: int) -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(missed=policy)))
    shop.wait(5.5)
    assert shop.times("f.t") == started
    assert shop.engine.triggers.own["f.t"].missed == missed


def test_skip_skips_the_last_one_too_if_it_is_late() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(missed="skip", source=IntervalSource(every_ms=10 * MINUTE, origin_ms=START))))
    shop.wait(12)
    assert shop.times("f.t") == []
    assert state_of(shop.engine, "f.t", START + 10 * MINUTE) == ledger.MISSED
    shop.wait(8)
    assert shop.times("f.t") == [20]


def test_the_latest_of_many_messages_is_in_the_last() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.now += 30 * MINUTE + 30_000
    for tick in shop.due(most=7):
        shop.post(tick)
    assert shop.times("f.t") == [30]


def test_catching_up_runs_all_since_the_start() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(start_ms=START - 10 * MINUTE), catchup=True))
    shop.wait(3.5)
    assert shop.times("f.t") == [*range(-10, 1), 3]  # what was missed after the deployment follows `missed`


def test_without_catching_up_nothing_before_the_deployment_is_due() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(start_ms=START - 10 * MINUTE)))
    shop.wait(1)
    assert shop.times("f.t") == [1]


# ---- deployments ----------------------------------------------------------------------------------------------------


def test_a_deployment_keeps_what_is_known_of_a_trigger() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.minutes(2)
    shop.deploy(flow_of("f", every(), every("other")))
    shop.minutes(2)
    assert shop.times("f.t") == [1, 2, 3, 4]
    assert shop.times("f.other") == [3, 4]


def test_an_outdated_deployment_changes_nothing() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.deploy(flow_of("f", every("new")))
    assert shop.post(m.Deployed("shop", 1, "manifest 1", shop.now)) == []
    assert [key[0] for key in shop.arms] == ["f.new"]


def test_a_manifest_that_cannot_be_had_leaves_what_was_there() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.post(m.Deployed("shop", 2, "nowhere", shop.now))
    assert "cannot be had" in shop.engine.ignored[-1]
    shop.wait()
    assert shop.times("f.t") == [1]


def test_runs_that_live_stay_on_their_plan() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.wait()
    plan, deployed = flow_of("f", every())
    shop.deploy((plan, msgspec.structs.replace(deployed, plan="plan 2")))
    shop.wait()
    runs = [shop.engine.peek(run) for run in shop.started]
    assert [run.plan for run in runs if run] == ["plan of f", "plan 2"]


def test_a_changed_grid_goes_on_after_the_last_time() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.minutes(3)
    slower = IntervalSource(every_ms=2 * MINUTE, origin_ms=START)
    shop.deploy(flow_of("f", every(source=slower)))
    shop.minutes(3)
    assert shop.times("f.t") == [1, 2, 3, 4, 6]


def test_what_is_undeployed_ticks_no_more_and_begins_anew_when_it_is_back() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(missed="all")))
    shop.minutes(2)
    assert Disarm("f.t") in shop.post(m.Deployed("shop", 2, "", shop.now))
    assert shop.arms == {}
    shop.number = 2
    shop.minutes(3)
    shop.deploy(flow_of("f", every(missed="all")))
    shop.minutes(2)
    assert shop.times("f.t") == [1, 2, 6, 7]


def test_a_trigger_that_is_gone_for_long_is_forgotten() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.deploy(flow_of("f"))
    assert "f.t" in shop.engine.triggers.own
    shop.now += 8 * 24 * 60 * MINUTE
    shop.deploy(flow_of("f"))
    assert "f.t" not in shop.engine.triggers.own
    shop.restored()
    assert "f.t" not in shop.engine.triggers.own


def test_a_trigger_belongs_to_one_partition() -> None:
    shops = [Shop(str(number), 4) for number in range(4)]
    for shop in shops:
        shop.deploy(flow_of("f", *(every(f"t{i}") for i in range(40))))
        shop.wait()
    assert sum(len(shop.started) for shop in shops) == 40
    assert all(len(shop.started) > 2 for shop in shops)


# ---- by hand --------------------------------------------------------------------------------------------------------


def test_a_paused_trigger_starts_nothing_until_it_is_resumed() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.wait()
    shop.post(m.Control("pause", trigger="f.t", by="ada", note="why", id="1", client="c"))
    assert shop.arms == {}
    shop.minutes(3)
    shop.restored()
    paused = shop.engine.triggers.own["f.t"].paused
    assert paused is not None
    assert (paused.by, paused.note) == ("ada", "why")
    shop.wait(0.5)
    shop.post(m.Control("resume", trigger="f.t", id="2", client="c"))
    shop.wait()
    assert shop.times("f.t") == [1, 5]
    assert [answer.ok for answer in shop.answers] == [True, True]


def test_pausing_what_is_not_deployed_is_refused() -> None:
    shop = Shop()
    shop.post(m.Control("pause", trigger="f.t", id="1", client="c"))
    assert not shop.answers[0].ok
    assert "no trigger `f.t` is deployed" in shop.answers[0].message


def test_a_tick_of_before_a_pause_is_outdated() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.now += MINUTE
    tick = shop.due()[0]
    shop.post(m.Control("pause", trigger="f.t", id="1"))
    shop.post(tick)
    shop.post(m.Control("resume", trigger="f.t", id="2"))
    shop.post(tick)
    assert shop.times("f.t") == []
    for again in shop.due():
        shop.post(again)
    assert shop.times("f.t") == [1]


# ---- several sources ------------------------------------------------------------------------------------------------


def test_any_of_starts_with_each() -> None:
    source = AnySource(sources=(EVERY, EventSource(subject="s", body=0)))
    shop = Shop()
    shop.deploy(flow_of("f", every(source=source)))
    shop.minutes(2)
    assert shop.arrive("f.t", "1", place=1)["what"] == "started"
    assert len(shop.started) == 3
    assert shop.times("f.t") == [1, 2]


def test_all_of_waits_for_each() -> None:
    source = AllSource(
        sources=(EVERY, AnySource(sources=(EventSource(subject="a", body=0), EventSource(subject="b", body=0))))
    )
    shop = Shop()
    shop.deploy(flow_of("f", every(source=source)))
    shop.minutes(2)
    assert shop.started == {}
    shop.restored()
    assert shop.arrive("f.t", "1", place=2)["what"] == "started"
    assert shop.times("f.t") == [2]  # the last time of the grid
    assert shop.arrive("f.t", "2", place=1)["what"] == "waiting"
    assert shop.arrive("f.t", "2", place=1)["what"] == "repeated"
    shop.minutes(1)
    assert shop.times("f.t") == [2, 3]


def test_two_grids_of_a_trigger_tick_each() -> None:
    source = AnySource(sources=(EVERY, IntervalSource(every_ms=MINUTE, origin_ms=START + 30_000)))
    shop = Shop()
    shop.deploy(flow_of("f", every(source=source)))
    for _ in range(4):
        shop.wait(0.5)
    found = shop.engine.triggers.ledger("f.t").backwards(shop.now + 1)
    assert [(at_ms - START, number) for at_ms, number, _ in found] == [(30_000 * i, 1) for i in (4, 3, 2, 1)]


# ---- jitter, start and end ------------------------------------------------------------------------------------------


def test_a_tick_that_is_put_off_does_not_come_before_that() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(jitter_ms=50_000)))
    due = jittered("f.t", START + MINUTE, 50_000)
    shop.now = due - 1
    tick = shop.due()[0]
    shop.post(tick)
    assert shop.times("f.t") == []
    shop.now = due
    shop.post(tick)
    assert shop.times("f.t") == [1]


# ---- the ledger, and the past ---------------------------------------------------------------------------------------


def test_the_ledger_knows_what_became_of_a_window() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.wait()
    assert state_of(shop.engine, "f.t", START + MINUTE) == ledger.LIVE
    shop.finish()
    assert state_of(shop.engine, "f.t", START + MINUTE) == ledger.SUCCESS
    shop.wait()
    shop.finish(state="failed")
    assert state_of(shop.engine, "f.t", START + 2 * MINUTE) == ledger.FAILED
    assert state_of(shop.engine, "f.t", START + 3 * MINUTE) == ledger.NEVER


def test_a_rerun_of_a_window_counts() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.wait()
    scheduled = shop.engine.peek(next(iter(shop.started))).scheduled  # type: ignore[union-attr]
    shop.finish(state="failed")
    shop.post(m.Submit("again", "plan of f", b"\x80", "rerun:x", scheduled=scheduled))
    assert state_of(shop.engine, "f.t", START + MINUTE) == ledger.LIVE
    shop.finish()
    assert state_of(shop.engine, "f.t", START + MINUTE) == ledger.SUCCESS
    assert shop.engine.triggers.ledger("f.t").number(START + MINUTE) == 2


def test_a_run_waits_for_the_success_of_the_window_before() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(), depends_on_past=True))
    shop.minutes(3)
    (first,) = shop.started  # the others are held
    shop.restored()
    shop.finish(first)
    assert len(shop.ready) == 1
    shop.finish(state="failed")
    assert shop.ready == []
    held = [run for run in shop.engine.living() if (known := shop.engine.peek(run)) and known.paused]
    assert len(held) == 1
    waiting = shop.engine.peek(held[0])
    assert waiting is not None
    assert [entry.action for entry in waiting.audit] == ["hold"]
    failed = shop.engine.peek(shop.ended[-1])
    assert failed is not None
    shop.post(m.Submit("again", "plan of f", b"\x80", "rerun:x", scheduled=failed.scheduled))
    shop.replayed()
    shop.finish("again")
    assert [work.run for work in shop.ready] == held


def test_a_run_that_waits_for_its_past_may_be_started_by_hand() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(), depends_on_past=True))
    shop.minutes(2)
    held = next(run for run in shop.engine.living() if run not in shop.started)
    shop.post(m.Control("resume", held, id="1", client="c"))
    assert held in shop.started
    assert shop.answers[-1].ok


def test_many_empty_runs_follow_each_other() -> None:
    """A run that ends as it begins lets the next one begin, however many there are."""
    shop = Shop()
    shop.deploy(flow_of("f", every(missed="all"), plan=flow(value(["lit", 1])), depends_on_past=True))
    shop.wait(3_000)
    assert len(shop.ended) == 3_000


def test_a_plan_that_cannot_be_had_fails_the_run() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()))
    shop.plans.clear()
    shop.wait()
    run = shop.engine.record(shop.ended[0])
    assert (run.state, run.trigger) == ("failed", "f.t")
    assert state_of(shop.engine, "f.t", START + MINUTE) == ledger.FAILED


def test_a_defect_at_the_start_of_a_run_ends_its_window_and_the_others_start(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every(missed="all")))
    submit, count = runs.submit, [0]

    def broken(*args: Any, **more: Any) -> None:
        count[0] += 1
        if count[0] == 2:
            raise IndexError("a defect")
        submit(*args, **more)

    monkeypatch.setattr(runs, "submit", broken)
    shop.now += 3 * MINUTE
    (tick,) = shop.due()
    shop.engine.add_plan("plan of f", shop.plans["plan of f"])
    with pytest.raises(IndexError):
        shop.engine.decide(tick, shop.now, 99)
    shop.engine.abandon(shop.engine.deciding)
    shop.engine.decide(tick, shop.now, 99)
    found = [state_of(shop.engine, "f.t", START + i * MINUTE) for i in (1, 2, 3)]
    assert found == [ledger.LIVE, ledger.FAILED, ledger.LIVE]
    assert len(shop.engine.living()) == 2


def test_a_deployer_whose_clock_is_ahead_delays_nothing() -> None:
    shop = Shop()
    shop.deploy(flow_of("f", every()), at_ms=START + 100 * MINUTE)
    shop.wait()
    assert shop.times("f.t") == [1]


# ---- schedules in Python --------------------------------------------------------------------------------------------


def test_a_schedule_in_python_is_asked_for_its_times_and_again_when_they_have_come() -> None:
    shop = Shop()
    trigger = every(source=CustomSource(target="m:next"))
    shop.plans["times"] = flow(task("times"), result=2, params=(param("after"),), name="times")
    shop.deploy(flow_of("f", trigger, schedules={"t/0": "times"}))
    assert [work.plan for work in shop.ready] == ["times"]
    shop.restored()
    shop.finish(result=[START + MINUTE, START + 3 * MINUTE])
    shop.restored()
    shop.minutes(2)
    assert shop.times("f.t") == [1]
    shop.minutes(1)
    assert shop.times("f.t") == [1, 3]
    asked = [work for work in shop.ready if work.plan == "times"]
    assert len(asked) == 1
    shop.replayed()
    shop.finish(asked[0].run, result=[])
    assert shop.engine.triggers.own["f.t"].trouble == "its schedule has no more times"


def test_a_schedule_in_python_that_fails_says_so_and_is_asked_again_by_hand() -> None:
    shop = Shop()
    shop.plans["times"] = flow(task("times"), result=2, params=(param("after"),), name="times")
    shop.deploy(flow_of("f", every(source=CustomSource(target="m:next")), schedules={"t/0": "times"}))
    shop.finish(state="failed")
    assert shop.engine.triggers.own["f.t"].trouble == "its next times are not known: no"
    shop.post(m.Control("resume", trigger="f.t", id="1", client="c"))
    shop.finish(result=[START + MINUTE])
    shop.wait()
    assert shop.times("f.t") == [1]


# ---- whatever happens -----------------------------------------------------------------------------------------------


MOVES = st.lists(
    st.sampled_from(["wait", "long", "tick", "old", "early", "restore", "replay", "deploy", "pause", "resume", "finish",
                     "fail"]),
    max_size=40,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(MOVES, st.booleans(), st.integers(1, 7))
def test_whatever_happens_each_time_starts_one_run(moves: list[str], depends: bool, most: int) -> None:
    shop, old = Shop(), list[m.Tick]()
    deployed = flow_of("f", every(missed="all"), depends_on_past=depends)
    shop.deploy(deployed)
    for number, move in enumerate(moves, 1):
        match move:
            case "wait":
                shop.now += MINUTE // 3
            case "long":
                shop.now += 9 * MINUTE
            case "tick" | "early":
                ticks = shop.due(ahead=0 if move == "tick" else MINUTE, most=most)
                old += ticks
                for tick in ticks[: 1 + number % 3]:
                    shop.post(tick)
            case "old" if old:
                shop.post(old[number % len(old)])
            case "restore":
                shop.restored()
            case "replay":
                shop.replayed()
            case "deploy":
                shop.deploy(deployed)
            case "pause" | "resume":
                shop.post(m.Control(move, trigger="f.t", id=f"c{number}"))  # type: ignore[arg-type]
            case "finish":
                shop.finish()
            case "fail":
                shop.finish(state="failed")
    shop.post(m.Control("resume", trigger="f.t", id="last"))
    shop.restored()
    shop.now += MINUTE
    for tick in shop.due(most=most):
        shop.post(tick)
    found = [
        (at_ms - START) // MINUTE for at_ms, count, _ in shop.engine.triggers.ledger("f.t").backwards(shop.now + 1)
    ]
    assert found[::-1] == [*range(1, (shop.now - START) // MINUTE + 1)]
    assert len({*shop.engine.living(), *shop.ended}) == len(found)
    assert all(number == 1 for _, number, _ in shop.engine.triggers.ledger("f.t").backwards(shop.now + 1))
