"""The checker finds what is wrong in a history, and excuses only what a trouble explains."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.plan import RetryPolicy, StepSettings
from flowrun.engine import Engine
from flowrun.messages import (
    Cancel,
    Event,
    Failure,
    Lost,
    Outcome,
    Results,
    RunRecord,
    Submit,
    TakeOver,
    TimerFired,
    WorkItem,
    pack,
    pack_events,
    unpack,
)
from msgspec.structs import replace

from tests.chaos.checker import check
from tests.chaos.history import Death, Effect, End, History, Live, Message, Submission, Trouble
from tests.chaos.report import as_json, as_text
from tests.support.plans import call, flow_plan, task

RETRY = StepSettings(retry=RetryPolicy(max=3, backoff="fixed", first_ms=500))
PLAN = flow_plan((call("a", 0, (1,)),), (task("work", "effects:work", "a"),), params=("n",), settings=(RETRY,))
DATA = plans.encode(PLAN)
DIGEST = plans.digest(DATA)
#: when all of it begins
T0 = 1_800_000_000_000.0


class Story:
    """A history, written as it would have happened: one run of one step, and what else is said."""

    def __init__(self, **changes: Any) -> None:
        self.history = History(
            seed=1, scenario="single", seconds=10, partitions=1, nodes=2, plans={DIGEST: DATA}, gates={"solo": 1}
        )
        self._engine = Engine("0", 1)
        self._engine.add_plan(DIGEST, PLAN)
        self.inbox(0, TakeOver(1, "n0", 1))
        self.submit("r", **changes)

    def submit(self, run: str, at: float = 10, **changes: Any) -> None:
        given = {"state": "success", "values": (7,), "effects": (("a", None),), "accepted_ms": T0 + at + 1}
        self.history.submissions.append(Submission(run=run, kind="task", at_ms=T0 + at, **{**given, **changes}))
        self.inbox(at, Submit(run, DIGEST, msgspec.msgpack.encode({"n": 1})))

    def inbox(self, at: float, *events: Event) -> None:
        """A message, and what the engine makes of it: records of runs that end are stored and told."""
        seq = len(self.history.messages) + 1
        self.history.messages.append(Message("0", seq, int(T0 + at), pack_events(events)))
        for event in events:
            for command in self._engine.decide(event, int(T0 + at), seq):
                if type(command).__name__ == "EndRun":
                    self.ends(self._engine.record(command.run), at)  # type: ignore[union-attr]

    def ends(self, record: RunRecord, at: float) -> None:
        data = pack(record)
        value = msgspec.msgpack.decode(record.result)
        self.history.ends.append(End(run=record.run, at_ms=T0 + at, told=data, stored=data, value=value))

    def effect(self, what: Any, at: float, attempt: int = 1, run: str = "r", worker: int = 100, gate: str = "") -> None:
        self.history.effects.append(
            Effect(what, run, "a", None, attempt, f"{run}/0/2/{attempt}", gate, worker + 1, worker, "n0", T0 + at)
        )

    def does(self, begin: float, end: float, attempt: int = 1, run: str = "r", **more: Any) -> None:
        self.effect("begin", begin, attempt, run, **more)
        self.effect("done", end, attempt, run, **more)

    def result(self, at: float, attempt: int = 1, run: str = "r", value: int = 7, **changes: Any) -> None:
        outcome = Outcome(run, 0, 2, attempt, "success", value=msgspec.msgpack.encode(value))
        self.inbox(at, Results(f"b{at}", "n0/worker", (replace(outcome, **changes),)))

    def trouble(self, kind: str, begin: float, end: float, pid: int = 0, **changes: Any) -> None:
        one = Trouble(kind=kind, target="n0", pid=pid, begin_ms=T0 + begin, end_ms=T0 + end, **changes)
        self.history.troubles.append(one)

    def change_end(self, **changes: Any) -> None:
        """Of the record that is stored."""
        end = self.history.ends[-1]
        record = replace(unpack(end.stored, RunRecord), **changes)
        self.history.ends[-1] = replace(end, stored=pack(record))

    @property
    def broken(self) -> set[str]:
        """The rules that are violated."""
        return {violation.rule for violation in check(self.history).violations}


def good(**changes: Any) -> Story:
    story = Story(**changes)
    story.does(20, 30)
    story.result(40)
    return story


def test_nothing_is_wrong() -> None:
    story = good()
    found = check(story.history)
    assert found.violations == ()
    assert found.excused == {}
    assert found.fold.records["r"].state == "success"


# ---- runs


def test_an_acknowledged_submission_without_an_end() -> None:
    story = Story()
    assert story.broken == {"ends"}
    story.history.submissions.clear()  # nobody was told that it was taken, but it is in an inbox
    assert story.broken == {"ends"}


def test_a_submission_that_was_lost() -> None:
    story = good()
    story.history.submissions.append(replace(story.history.submissions[0], run="lost"))
    assert story.broken == {"ends"}
    story.history.submissions[1] = replace(story.history.submissions[1], accepted_ms=0)
    assert story.broken == set()  # nobody was told that it was taken


def test_a_client_that_was_never_told() -> None:
    story = good()
    story.history.ends[0] = replace(story.history.ends[0], told=b"", at_ms=0)
    assert story.broken == {"ends"}


def test_a_wrong_value_and_a_wrong_state() -> None:
    assert good(values=(8,)).broken == {"right end"}
    assert good(state="failed", failed_step="a").broken == {"right end"}
    assert good(values=(8, 7)).broken == set()  # the same key was submitted with two arguments


def test_a_step_that_was_left_out() -> None:
    assert good(effects=(("a", None), ("b", None))).broken == {"right end"}


def test_a_failure_by_another_step() -> None:
    story = Story(state="failed", failed_step="b", effects=())
    story.does(20, 30)
    story.result(40, state="failed", error=Failure("ValueError", "no", retryable=False))
    assert story.broken == {"right end"}


def test_a_step_whose_worker_died_three_times_has_failed() -> None:
    story = Story()
    item = WorkItem("r", 0, "", 0, 0, 2, 1, ())
    for attempt in range(1, 4):
        story.inbox(1000 * attempt, Lost(f"b{attempt}", (replace(item, attempt=attempt),)))
    found = check(story.history)
    assert found.violations == ()
    assert "its worker died three times" in found.excused


# ---- state transitions


@pytest.mark.parametrize(
    "changes",
    [{"ended_ms": 1}, {"state": "failed"}, {"result": msgspec.msgpack.encode(9)}, {"steps": ()}],
)
def test_a_record_that_is_not_what_the_inbox_says(changes: dict[str, Any]) -> None:
    story = good()
    story.change_end(**changes)
    assert "one transition" in story.broken


def test_an_attempt_that_was_counted_twice() -> None:
    story = good()
    record = unpack(story.history.ends[0].stored, RunRecord)
    story.change_end(steps=(replace(record.steps[0], attempts=2),))
    assert story.broken == {"one transition"}


def test_a_record_from_before_the_last_message() -> None:
    """Two results of one attempt: the second one was taken instead of the first."""
    story = good()
    story.result(50, value=8)
    assert story.broken == set()
    story.change_end(result=msgspec.msgpack.encode(8))
    assert story.broken == {"one transition"}


def test_messages_that_were_lost() -> None:
    story = good()
    story.history.problems.append("inbox 0 was read to message 3, and goes to 5")
    assert story.broken == {"recording"}
    story = good()
    del story.history.messages[-1]
    assert "one transition" not in story.broken  # what has ended in no inbox is not compared …
    story.history.messages.append(Message("0", 9, int(T0 + 60), b"\x02nonsense"))
    assert "state" in story.broken  # … but what cannot be read is told


# ---- effects


def test_a_result_without_an_effect() -> None:
    story = Story()
    story.effect("begin", 20)
    story.result(40)
    assert story.broken == {"effects"}


def test_what_runs_again_after_its_result() -> None:
    story = good()
    story.does(1000, 1010, worker=200)
    assert story.broken == {"runs again"}


def test_a_worker_that_was_paused_may_run_on_for_a_moment() -> None:
    story = good()
    story.does(9_000, 9_010, worker=200)
    story.trouble("pause worker", 15, 8_900, pid=200)
    found = check(story.history)
    assert found.violations == ()
    assert "began again" in found.excused


@pytest.mark.parametrize(
    ("kind", "pid", "end"),
    [
        ("pause worker", 300, 8_900),
        ("pause worker", 200, 5_000),
        ("kill server", 0, 8_900),
        ("kill executor", 200, 8_900),
    ],
)
def test_what_is_no_excuse_for_running_again(kind: str, pid: int, end: float) -> None:
    """Another worker's pause, one that was over long ago, and a server that died."""
    story = good()
    story.does(9_000, 9_010, worker=200)
    story.trouble(kind, 15, end, pid=pid)
    assert story.broken == {"runs again"}


def test_a_server_forgets_and_the_only_worker_that_knows_is_dead() -> None:
    story = good()
    story.trouble("kill server", 41, 800)
    story.does(1_800, 1_810, worker=200)
    assert story.broken == {"runs again"}
    story.trouble("kill worker", 42, 42, pid=100)
    found = check(story.history)
    assert found.violations == ()
    assert "began again" in found.excused


# ---- times


def test_a_delayed_submission_that_began_early() -> None:
    assert good(not_before_ms=T0 + 15).broken == set()
    assert good(not_before_ms=T0 + 25).broken == {"early"}


def retried(again: float) -> Story:
    story = Story()
    story.effect("begin", 20)
    story.effect("failed", 30)
    story.result(40, state="failed", error=Failure("ValueError", "no"))
    story.inbox(541, TimerFired("r", "retry/0/2"))
    story.does(again, again + 5, attempt=2)
    story.result(600, attempt=2)
    return story


def test_another_attempt_before_its_wait_is_over() -> None:
    assert retried(545).broken == set()
    assert retried(300).broken == {"early"}


def cancelled(end: float) -> Story:
    story = Story(state="cancelled", effects=())
    story.effect("begin", 20)
    story.inbox(100, Cancel("r"))
    story.effect("failed", end)
    return story


def test_a_cancelled_run_that_goes_on() -> None:
    assert cancelled(900).broken == set()
    assert cancelled(5_000).broken == {"cancelled"}


def test_a_cancelled_run_whose_worker_could_not_be_told() -> None:
    story = cancelled(5_000)
    story.trouble("pause worker", 50, 4_500, pid=100)
    assert story.broken == set()
    story = cancelled(40_000)
    story.trouble("pause worker", 50, 4_500, pid=100)
    assert story.broken == {"cancelled"}


def test_what_was_killed_ended_then() -> None:
    story = Story(state="cancelled", effects=())
    story.effect("begin", 20)
    story.inbox(100, Cancel("r"))
    story.does(90_000, 90_001, run="other")
    assert "cancelled" in story.broken
    story.history.deaths.append(Death(101, "n0", T0 + 500, T0 + 600))
    assert "cancelled" not in story.broken


# ---- limits


def two_holders(**more: Any) -> Story:
    story = Story()
    story.submit("s", at=11)
    story.does(20, 60, gate="solo")
    story.does(30, 50, run="s", worker=200, gate="solo")
    story.result(70)
    story.result(71, run="s")
    return story


def test_more_holders_than_slots() -> None:
    assert two_holders().broken == {"limits"}


def test_a_holder_whose_worker_was_paused_is_in_doubt() -> None:
    story = two_holders()
    story.trouble("pause worker", 21, 29, pid=100)
    found = check(story.history)
    assert found.violations == ()
    assert "more holders than slots" in found.excused
    story = two_holders()
    story.trouble("pause worker", 21, 29, pid=999)
    assert story.broken == {"limits"}


def test_one_after_the_other_is_fine() -> None:
    story = Story()
    story.submit("s", at=11)
    story.does(20, 30, gate="solo")
    story.does(31, 50, run="s", worker=200, gate="solo")
    story.result(70)
    story.result(71, run="s")
    assert story.broken == set()


# ---- the report


def test_the_report_tells_what_happened_around_a_violation() -> None:
    story = good(values=(8,))
    story.trouble("kill leader", 35, 35, pid=5, partitions=("0",))
    story.history.lives.append(Live("0", "n1", T0 + 735))
    report = as_json(story.history, check(story.history))
    assert report["kills"] == 1
    assert report["take_overs"]["leader killed"]["clean"] == {"count": 1, "p50": 0.7, "max": 0.7}
    text = as_text(report)
    assert "right end: r: task: its value is 7, and must be 8" in text
    assert "! kill leader n0 5" in text
    assert "journal: begin r/0/2/1" in text
    assert "client: is told that it ended: success" in text
    msgspec.json.encode(report)


def test_how_long_others_took() -> None:
    story = Story()
    story.effect("begin", 20, worker=300)
    story.trouble("kill worker", 1_000, 1_000, pid=300)
    story.history.deaths.append(Death(301, "n0", T0 + 999, T0 + 1_001))
    story.inbox(7_500, Lost("b", (WorkItem("r", 0, "", 0, 0, 2, 1, ()),)))
    story.does(8_000, 8_010, attempt=2, worker=400)
    story.result(8_020, attempt=2)
    story.trouble("kill server", 8_500, 9_000)
    story.inbox(9_800, Results("c", "w", ()))
    times = as_json(story.history, check(story.history))["take_overs"]
    assert times["worker killed"]["all"] == {"count": 1, "p50": 7.0, "max": 7.0}
    assert times["server killed"]["clean"] == {"count": 1, "p50": 0.8, "max": 0.8}
    assert story.broken == set()
