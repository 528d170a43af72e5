"""Steps that wait for the world: timers, signals, events, decisions; whatever happens to the process meanwhile."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from flowrun import messages as m
from flowrun.engine.commands import Answer, Send
from flowrun.engine.view import approvals, steps_of

from tests.unit.engine.driver import START, Driver, states
from tests.unit.engine.test_snapshot import Freezing, Restoring
from tests.unit.engine.written import plan_of

HEAD = """
use std.wait { sleep, sleep_until, signal, event }
use std.human { approval, approved }
signal review: { ok: bool, note: string? }
signal go: int
task work(x: json = null) returns json { run: shell("echo ${x}") }
"""
DRIVERS: list[type[Driver]] = [Driver, Restoring, Freezing]
kinds = pytest.mark.parametrize("kind", DRIVERS)


class Talk:
    """A driver, with what is said to runs."""

    def __init__(self, text: str, kind: type[Driver] = Driver, **functions: Any) -> None:
        self.driver = kind(plan_of(HEAD + text), functions)
        self.count = 0

    def begin(self, run: str = "r", **args: Any) -> Talk:
        self.driver.submit(run, msgspec.msgpack.encode(args))
        return self

    def _post(self, event: Any) -> Answer:
        answers = [one for one in self.driver.post(event) if isinstance(one, Answer)]
        assert len(answers) == 1
        assert answers[0].id == event.id
        return answers[0]

    def _id(self) -> str:
        self.count += 1
        return f"i{self.count}"

    def signal(self, name: str, value: object = None, run: str = "r", **more: Any) -> Answer:
        return self._post(m.Signal(run, name, msgspec.msgpack.encode(value), self._id(), "c", **more))

    def decide(
        self, approved: bool, step: str = "", note: str | None = None, by: str = "ada", run: str = "r"
    ) -> Answer:
        return self._post(m.Decision(run, step, approved, note, self._id(), "c", by))

    def emit(self, subject: str, key: str = "", value: object = None) -> list[Any]:
        return self.driver.post(m.Raised(subject, key, msgspec.msgpack.encode(value), self._id()))

    def work(self) -> None:
        """Executes what is ready; no timer fires."""
        while any(self.driver.engine.wants(ready) for ready in self.driver.ready):
            self.driver.step()

    def record(self, run: str = "r") -> m.RunRecord:
        self.work()
        assert run in self.driver.ended
        return self.driver.engine.record(run)

    def result(self, run: str = "r") -> Any:
        record = self.record(run)
        assert record.state == "success", record
        return self.driver.value_of(record.result)

    def is_open(self, run: str = "r") -> bool:
        return run not in self.driver.ended


def is_tidy(talk: Talk, run: str = "r") -> bool:
    """Nothing of the waits is left: no timers, nobody listens."""
    engine = talk.driver.engine
    known = engine.peek(run)
    assert known is not None
    return not talk.driver.timers and not known.awaits and not known.timers and not engine.listeners._of


# ---- timers ---------------------------------------------------------------------------------------------------------


@kinds
def test_a_sleep_ends_when_its_time_is_over_and_gives_the_time(kind: type[Driver]) -> None:
    talk = Talk("flow main() returns datetime { return sleep(90s) }", kind).begin()
    assert talk.driver.timers == {("r", "wake/0/1"): START + 90_000}
    assert talk.driver.ready == []
    record = talk.driver.drain()
    assert talk.driver.value_of(record.result) == (
        dt.datetime.fromtimestamp(START / 1000, dt.UTC) + dt.timedelta(seconds=90)
    ).isoformat().replace("+00:00", "Z")
    assert states(record) == {"sleep": "success"}
    assert record.steps[0].seconds == 90


def test_a_timer_that_comes_early_is_set_again() -> None:
    talk = Talk("flow main() returns datetime { return sleep(90s) }").begin()
    talk.driver.now += 89_000
    talk.driver.timers.clear()
    talk.driver.post(m.TimerFired("r", "wake/0/1"))
    assert talk.is_open()
    assert talk.driver.timers == {("r", "wake/0/1"): START + 90_000}


def test_sleeping_until_what_is_past_ends_at_once() -> None:
    talk = Talk("flow main(at: datetime) returns datetime { return sleep_until(at) }").begin(at="2020-01-01T00:00:00Z")
    assert talk.result().startswith("2023-11-14T22:13:20")
    assert is_tidy(talk)


def test_fractions_of_a_millisecond_are_rounded_up() -> None:
    talk = Talk("flow main(at: datetime) returns datetime { return sleep_until(at) }")
    at = dt.datetime.fromtimestamp(START / 1000, dt.UTC) + dt.timedelta(microseconds=1_500)
    talk.begin(at=at.isoformat())
    assert list(talk.driver.timers.values()) == [START + 2]


def test_a_wait_may_be_delayed_and_its_timeout_counts_from_its_beginning() -> None:
    talk = Talk("flow main() returns int { return signal(go) with { delay: 10s, timeout: 5s } }").begin()
    assert talk.driver.timers == {("r", "delay/0/1"): START + 10_000}
    talk.driver.fire()
    assert talk.driver.timers == {("r", "patience/0/1"): START + 15_000}
    talk.driver.fire()
    assert talk.record().error == m.Failure("Timeout", "no signal came within its `timeout` of 5 s", retryable=False)
    assert is_tidy(talk)


# ---- signals --------------------------------------------------------------------------------------------------------


@kinds
def test_a_signal_ends_the_wait_with_what_it_brings(kind: type[Driver]) -> None:
    talk = Talk("flow main() returns bool { answer = signal(review)\n return answer.ok }", kind).begin()
    assert talk.is_open()
    assert talk.signal("review", {"ok": True}) == Answer("c", "i1", True)
    assert talk.result() is True
    assert is_tidy(talk)


@kinds
def test_signals_that_come_before_are_kept_and_taken_in_order(kind: type[Driver]) -> None:
    text = (
        "flow main() returns list<int> { w = work()\n a = signal(go) after w\n b = signal(go) after a\n return [a, b] }"
    )
    talk = Talk(text, kind, work=lambda x: x).begin()
    for number in (1, 2, 3):
        assert talk.signal("go", number).ok
    assert talk.is_open()
    assert talk.result() == [1, 2]


def test_what_is_missed_can_be_dropped() -> None:
    text = 'flow main() returns int { w = work()\n return signal(go, missed: "drop") after w }'
    talk = Talk(text, work=lambda x: x).begin()
    talk.signal("go", 1)
    talk.work()
    assert talk.is_open()
    talk.signal("go", 2)
    assert talk.result() == 2


@kinds
def test_each_signal_goes_to_the_step_that_waits_longest(kind: type[Driver]) -> None:
    talk = Talk(
        "flow main() returns list<int> { return each i in range(3) with { max: 3 } { return signal(go) } }", kind
    )
    talk.begin()
    for number in (10, 20, 30):
        assert talk.signal("go", number).ok
    assert talk.result() == [10, 20, 30]
    assert is_tidy(talk)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "review",
            {"ok": 1},
            "the signal `review` brings { ok: bool, note: string? }: `review.ok`: expected bool, got int",
        ),
        ("review", 3, "`review`: expected record, got int"),
        ("review", {"note": "x"}, "missing field `ok`"),
        ("go", "x", "the signal `go` brings int: `go`: expected int, got str"),
        ("other", 1, "flow `main` waits for no signal `other`: it waits for `review`, `go`"),
    ],
)
def test_a_wrong_signal_is_refused(name: str, value: object, reason: str) -> None:
    talk = Talk("flow main() { a = signal(review)\n b = signal(go) after a }").begin()
    answer = talk.signal(name, value)
    assert not answer.ok
    assert reason in answer.message
    assert talk.is_open()


def test_a_signal_for_who_is_not_there_is_refused() -> None:
    talk = Talk("flow main() returns int { return signal(go) }").begin()
    assert talk.signal("go", 1, run="x").message.startswith("there is no run x: it was never submitted")
    talk.signal("go", 1)
    assert talk.signal("go", 2).message == "run r has ended"
    talk.driver.engine.forget("r")
    assert talk.signal("go", 2).message == "run r has ended"


def test_a_run_of_one_task_takes_no_signals() -> None:
    talk = Talk("flow main(x: json) returns json { return work(x) }", work=lambda x: x)
    talk.driver.engine.watched = ()
    talk.begin(x=1)
    assert talk.driver.engine.singles
    assert talk.signal("go", 1).message == "flow `main` waits for nothing"
    assert talk.driver.engine.singles
    talk.work()
    assert talk.signal("go", 1).message == "run r has ended"


def test_the_same_signal_again_counts_once() -> None:
    talk = Talk("flow main() returns list<int> { a = signal(go)\n b = signal(go) after a\n return [a, b] }").begin()
    event = m.Signal("r", "go", b"\x01", "same", "c")
    first = talk.driver.post(event)
    assert talk.driver.post(event) == [Answer("c", "same", True)]
    assert Answer("c", "same", True) in first
    assert talk.is_open()
    talk.signal("go", 2)
    assert talk.result() == [1, 2]


def test_a_bounded_number_of_signals_is_kept() -> None:
    talk = Talk("flow main() returns int { w = work()\n return signal(go) after w }", work=lambda x: x).begin()
    assert all(talk.signal("go", number).ok for number in range(1_000))
    assert "keeps 1000 signals that no step has waited for" in talk.signal("go", 0).message


def test_an_undeclared_signal_brings_anything_and_a_computed_name_takes_any() -> None:
    talk = Talk('flow main(name: string) returns json { a = signal("x-${name}")\n return a }').begin(name="y")
    assert talk.signal("other", [1]).ok
    assert talk.signal("x-y", {"a": [1]}).ok
    assert talk.result() == {"a": [1]}


@kinds
def test_a_signal_before_the_run_itself_is_kept(kind: type[Driver]) -> None:
    talk = Talk("flow main() returns int { return signal(go) }", kind)
    assert talk.signal("go", 7, early=True).ok
    assert talk.signal("go", "wrong", early=True).ok  # nobody knows the flow yet
    assert not talk.signal("go", 7).ok
    talk.begin()
    assert talk.result() == 7


def test_a_run_that_waits_for_its_permits_keeps_signals() -> None:
    talk = Talk("flow main() returns int { concurrency: { limit: 1 }\n return signal(go) }")
    talk.begin("a")
    talk.begin("b")
    assert talk.signal("go", 2, run="b").ok
    assert talk.is_open("b")
    talk.signal("go", 1, run="a")
    assert talk.result("b") == 2


def test_a_child_run_takes_signals_of_its_own() -> None:
    talk = Talk("flow inner() returns int { return signal(go) }\nflow main() returns int { return inner() }").begin()
    assert talk.signal("go", 5).ok
    assert talk.result() == 5


# ---- events ---------------------------------------------------------------------------------------------------------


@kinds
def test_an_event_ends_all_that_wait_for_it(kind: type[Driver]) -> None:
    talk = Talk('flow main(id: string) returns json { return event("orders.paid", key: id) }', kind)
    for run, id in (("a", "1"), ("b", "1"), ("c", "2")):
        talk.begin(run, id=id)
    talk.emit("orders.paid", "1", {"by": "card"})
    assert talk.result("a") == talk.result("b") == {"by": "card"}
    assert talk.is_open("c")
    talk.emit("orders.paid", "", 1)
    talk.emit("orders.sent", "2", 1)
    assert talk.is_open("c")
    talk.emit("orders.paid", "2", 2)
    assert talk.result("c") == 2
    assert not talk.driver.engine.listeners._of


def test_an_event_that_comes_again_counts_once() -> None:
    talk = Talk('flow main() returns json { a = event("x")\n b = event("x") after a\n return [a, b] }').begin()
    event = m.Raised("x", "", b"\x01", "same")
    talk.driver.post(event)
    talk.driver.post(event)
    assert talk.is_open()
    talk.emit("x", "", 2)
    assert talk.result() == [1, 2]


def test_a_large_value_may_tell_what_is_waited_for() -> None:
    """A worker evaluates the key, for the coordinator reads no blobs."""
    text = 'flow main() returns json { o = work()\n return event("paid", key: string(o.id)) }'
    talk = Talk(text, o=lambda x: {"id": 7, "data": "x" * 40_000}).begin()
    talk.work()
    talk.emit("paid", "7", "done")
    assert talk.result() == "done"


def test_an_event_for_very_many_is_taken_in_parts() -> None:
    text = 'flow main() returns json { a = event("x")\n b = event("x") after a\n return [a, b] }'
    talk = Talk(text)
    runs = [f"r{number:04d}" for number in range(2_500)]
    for run in runs:
        talk.begin(run)
    sends = [one for one in talk.emit("x", "", 1) if isinstance(one, Send)]
    assert [send.id for send in sends] == ["raised/i1/r0999"]
    talk.begin("z")  # it waits for the next one
    talk.driver.now += 1
    talk.begin("zz")
    while sends:
        assert len(sends) == 1
        sends = [one for one in talk.driver.post(sends[0].event) if isinstance(one, Send)]
    waits = {run: (known := talk.driver.engine.peek(run)) and len(known.awaits) for run in (*runs, "z", "zz")}
    assert set(waits.values()) == {1}
    first = {run for run in waits if run not in ("z", "zz")}
    for run in [*sorted(first)[::500], "zz"]:
        known = talk.driver.engine.peek(run)
        assert known is not None
        assert (known.body is not None and known.body.values[1] == b"\x01") == (run in first)


def test_an_event_of_another_type_fails_who_waits() -> None:
    text = """type Paid = { by: string }
    task paid(subject: string = "paid") returns Paid { run: wait("event") }
    flow main() returns string { return paid().by }"""
    talk = Talk(text).begin()
    talk.emit("paid", "", {"by": 1})
    error = talk.record().error
    assert error is not None
    assert (error.type, error.message) == (
        "TypeMismatch", "{ by: string } was waited for: `what came.by`: expected string, got int"
    )  # fmt: skip


# ---- approvals ------------------------------------------------------------------------------------------------------


@kinds
def test_an_approval_gives_who_decided(kind: type[Driver]) -> None:
    talk = Talk('flow main() returns json { d = approval(group: "finance")\n return [d.approved, d.by, d.note] }', kind)
    talk.begin()
    answer = talk.decide(True, "d", "fine")
    assert answer == Answer("c", "i1", True, "", msgspec.msgpack.encode("d"))
    assert talk.result() == [True, "ada", "fine"]
    assert is_tidy(talk)


def test_a_refusal_fails_the_step() -> None:
    talk = Talk("flow main() returns bool { return approval().approved }").begin()
    talk.decide(False, note="too much", by="bob")
    record = talk.record()
    assert (record.state, record.failed_step) == ("failed", "approval")
    assert record.error == m.Failure("Rejected", "bob rejected it: too much", retryable=False)


def test_a_refusal_may_be_a_value() -> None:
    talk = Talk('flow main() returns bool { d = approval(on_reject: "return")\n return d.approved }').begin()
    talk.decide(False)
    assert talk.result() is False


def test_a_refusal_can_be_handled() -> None:
    text = "flow main() returns string { d = approval() catch(e) { return approved(e.message) }\n return d.by }"
    talk = Talk(text).begin()
    talk.decide(False, note="no")
    assert talk.result() == "ada rejected it: no"


@pytest.mark.parametrize(
    ("on_timeout", "outcome"),
    [
        ("fail", ("Timeout", "nobody decided within its `timeout` of 60 s")),
        ("reject", ("Rejected", "timeout rejected it: nobody decided within 60 s")),
        ("approve", True),
    ],
)
def test_without_a_decision_in_time(on_timeout: str, outcome: object) -> None:
    text = (
        f'flow main() returns bool {{ return (approval(on_timeout: "{on_timeout}") with {{ timeout: 1m }}).approved }}'
    )
    talk = Talk(text).begin()
    record = talk.driver.drain()
    found = (record.error.type, record.error.message) if record.error else talk.driver.value_of(record.result)
    assert found == outcome


def test_a_second_decision_is_refused_with_the_first() -> None:
    talk = Talk("flow main() returns int { d = approval()\n return signal(go) after d }").begin()
    assert talk.decide(True, "d").ok
    for step in ("d", ""):
        answer = talk.decide(False, step, by="bob")
        assert not answer.ok
        assert answer.message.startswith("`d` of run r was approved before, by ada at 2023-11-14 22:13:20 UTC")
    talk.signal("go", 1)
    assert talk.decide(True, "d").message == "run r has ended"


def test_which_step_is_meant_must_be_said_where_there_are_many() -> None:
    talk = Talk(
        """flow main() returns list<bool> {
          return each i in range(3) with { max: 3 } { d = approval()
            return d.approved }
        }"""
    )
    talk.begin()
    assert talk.decide(True).message == (
        "run r waits for 3 approvals, so say which step is meant: `d[0]`, `d[1]`, `d[2]`"
    )
    assert talk.decide(True, "e").message == (
        "run r waits for no approval of a step `e` now: it waits for `d[0]`, `d[1]`, `d[2]`"
    )
    for step in ("d[2]", "d[0]", "d[1]"):
        assert talk.decide(True, step).ok
    assert talk.result() == [True, True, True]


def test_an_approval_without_a_question() -> None:
    talk = Talk('flow main() returns json { d = approved("auto", note: "small")\n return d }').begin()
    assert talk.result() == {"approved": True, "by": "auto", "note": "small", "at": "2023-11-14T22:13:20Z"}


# ---- together with the rest -----------------------------------------------------------------------------------------


@kinds
def test_the_first_of_several_decides_and_the_rest_waits_no_more(kind: type[Driver]) -> None:
    text = """flow main() returns json {
      r = { answer: signal(review), late: sleep(2d), paid: event("paid") } with { join: "first", cancel_rest: true }
      return [r.answer?.ok, r.late, r.paid]
    }"""
    talk = Talk(text, kind).begin()
    talk.signal("review", {"ok": True})
    assert talk.result() == [True, None, None]
    assert is_tidy(talk)


def test_the_first_of_a_list_is_a_value() -> None:
    text = 'flow main() returns json { return [signal("a"), signal("b")] with { join: "first", cancel_rest: true } }'
    talk = Talk(text).begin()
    talk.signal("b", 2)
    assert talk.result() == 2
    assert is_tidy(talk)


@kinds
def test_a_cancelled_run_waits_no_more(kind: type[Driver]) -> None:
    text = """flow main() {
      a = signal(go) with { timeout: 1h }
      b = sleep(1h)
      c = event("x", key: "y")
      d = approval()
      each i in range(2) with { max: 2 } { signal(review) }
    }"""
    talk = Talk(text, kind).begin()
    talk.driver.post(m.Cancel("r"))
    record = talk.record()
    assert record.state == "cancelled"
    assert set(states(record).values()) == {"cancelled"}
    assert is_tidy(talk)


@kinds
def test_waits_in_a_repeat_and_a_using(kind: type[Driver]) -> None:
    text = """flow main() returns int {
      using c = work("up") { n = repeat with { every: 1s, max: 5 } { return signal(go) } until _ > 1 }
      finally { work("down") }
      return 1
    }"""
    talk = Talk(text, kind, c=lambda x: x, work=lambda x: x).begin()
    talk.work()
    talk.signal("go", 1)
    talk.signal("go", 2)
    talk.driver.fire()
    assert talk.result() == 1


@kinds
def test_waits_in_chains_handlers_and_branches(kind: type[Driver]) -> None:
    text = """flow inner(n: int) returns int {
      x = signal(go) on success(r) { work(r) }
      return match n { 1: x, else: signal("never") ?? 0 }
    }
    flow main() returns int {
      on failure(e) { approval(title: e.message) }
      a = signal(go) -> inner
      b = (signal(review) with { timeout: 1s }) catch(e) { return { ok: false, note: e.type } }
      c = approval(title: b.note ?? "")
      return a
    }"""
    talk = Talk(text, kind, work=lambda x: x).begin()
    talk.signal("go", 1)
    talk.signal("go", 2)
    talk.work()
    talk.driver.fire()
    talk.work()
    talk.decide(False, "c")
    talk.work()
    assert talk.is_open()
    assert [one.step for one in approvals(talk.driver.engine)] == ["approval"]
    talk.decide(True)
    record = talk.record()
    assert (record.state, record.failed_step) == ("failed", "c")
    assert states(record)["a.x"] == states(record)["b"] == "success"


def test_what_a_step_waits_for_is_told() -> None:
    text = """flow main() {
      a = signal(go)
      b = sleep(1h)
      c = event("x", key: "y")
      d = approval(group: "finance")
    }"""
    talk = Talk(text).begin()
    told = {step.step: (step.state, step.message) for step in steps_of(talk.driver.engine, "r")}
    assert told == {
        "a": ("waiting", "waits for the signal `go`"),
        "b": ("waiting", "waits until 2023-11-14 23:13:20 UTC"),
        "c": ("waiting", "waits for the event `x` about `y`"),
        "d": ("waiting", "waits for an approval of `finance`"),
    }


@pytest.mark.parametrize("packed", [False, True])
def test_approvals_are_listed_wherever_they_stand(packed: bool) -> None:
    text = """flow inner(n: int) { ask = approval(group: "g", title: "n is ${n}", show: [n]) with { timeout: 1m } }
    flow main() {
      inner(7)
      each i in range(2) with { max: 2 } { each j in range(2) with { max: 2 } { deep = approval() } }
    }"""
    talk = Talk(text).begin("b")
    talk.driver.now += 5
    talk.begin("a")
    for _ in range(2 * packed):
        talk.driver.engine.freeze()
    assert bool(talk.driver.engine.frozen) == packed
    found = approvals(talk.driver.engine)
    steps = ["inner.ask", "deep[0][0]", "deep[0][1]", "deep[1][0]", "deep[1][1]"]
    assert [(one.run, one.step, one.since_ms) for one in found] == [
        (run, step, since) for run, since in (("b", START), ("a", START + 5)) for step in steps
    ]
    asked = found[0]
    assert [msgspec.msgpack.decode(data) for data in (asked.group, asked.title, asked.show)] == ["g", "n is 7", [7]]
    assert (asked.until_ms, found[1].until_ms) == (START + 60_000, 0)
    assert [one.run for one in approvals(talk.driver.engine, "a", 2)] == ["a", "a"]
    for step in steps:
        assert talk.decide(True, step, run="a").ok
    assert talk.record("a").state == "success"
    assert {one.run for one in approvals(talk.driver.engine)} == {"b"}
    talk.driver.post(m.Cancel("b"))
    assert approvals(talk.driver.engine) == []


def test_a_list_of_approvals_has_a_bounded_size() -> None:
    text = """flow main(x: json) {
      each i in range(20) with { max: 20 } { approval(show: x, title: "t") }
    }"""
    talk = Talk(text).begin(x="y" * 20_000)
    found = approvals(talk.driver.engine)
    shown = [msgspec.msgpack.decode(one.show) for one in found]
    assert shown[:13] == ["y" * 20_000] * 13
    assert all("too much for this list" in text for text in shown[13:])
    assert [one.step for one in found] == [f"approval[{i}]" for i in range(20)]


@kinds
def test_a_step_that_waits_is_marked_by_hand(kind: type[Driver]) -> None:
    talk = Talk("flow main() returns int { a = signal(go) with { timeout: 1h }\n return a }", kind).begin()
    event = m.Control("mark", "r", step="a", value=b"\x05", by="ada", id="x", client="c")
    talk.driver.post(event)
    assert talk.result() == 5
    assert is_tidy(talk)


@kinds
def test_a_paused_run_keeps_what_comes(kind: type[Driver]) -> None:
    text = "flow main() returns json { a = signal(go)\n b = signal(go) after a\n c = sleep(1h)\n return [a, b] }"
    talk = Talk(text, kind).begin()
    talk.driver.post(m.Control("pause", "r", id="p", client="c"))
    talk.signal("go", 1)
    talk.signal("go", 2)
    assert talk.is_open()
    talk.driver.fire()
    assert talk.is_open()
    talk.driver.post(m.Control("resume", "r", id="q", client="c"))
    assert talk.result() == [1, 2]


# ---- milestones -----------------------------------------------------------------------------------------------------


@kinds
def test_a_step_that_waits_is_skipped_when_its_milestone_is_over(kind: type[Driver]) -> None:
    text = """flow main() returns json {
      closed = signal(go)
      late = signal(review) after not_yet(closed)
      return [closed, late]
    }"""
    talk = Talk(text, kind).begin()
    talk.signal("go", 1)
    record = talk.record()
    assert states(record) == {"closed": "success", "late": "skipped"}
    assert is_tidy(talk)


def test_a_step_begins_while_its_milestone_holds() -> None:
    text = """flow main() {
      closed = signal(go)
      late = work() after not_yet(closed)
    }"""
    talk = Talk(text, late=lambda x: x).begin()
    talk.signal("go", 1)  # it was handed out before
    assert states(talk.record()) == {"closed": "success", "late": "success"}


def test_conditions_and_delays_must_be_over_before_the_milestone_is() -> None:
    text = """flow main() {
      closed = signal(go)
      first = work()
      late = work() after first and not_yet(closed)
      slow = work() with { delay: 10s } after not_yet(closed)
    }"""
    talk = Talk(text, **{name: lambda x: x for name in ("first", "late", "slow")}).begin()
    talk.signal("go", 1)
    assert states(talk.record()) == {"closed": "success", "first": "success", "late": "skipped", "slow": "skipped"}
    assert is_tidy(talk)


# ---- many -----------------------------------------------------------------------------------------------------------


def test_of_many_runs_those_that_wait_for_no_worker_are_packed_at_once() -> None:
    text = """flow main(i: int) returns int {
      x = if i % 2 == 0 then signal(go) else number(i)
      return x
    }
    task number(i: int) returns int { run: shell("echo ${i}") }"""
    talk = Talk(text)
    engine = talk.driver.engine
    engine.watched = ()
    for number in range(25_000):
        talk.begin(f"r{number:05d}", i=number)
        engine.freeze_some()
    assert 5_000 <= len(engine.frozen) <= 12_500
    assert all(not int(name[1:]) % 2 for name in engine.frozen)
    talk.driver.ready.clear()
    talk.signal("go", 7, run="r00000")
    assert talk.result("r00000") == 7
