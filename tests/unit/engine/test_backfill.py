"""Backfills: which windows start, when, and what is told of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from flowrun.engine import Engine
from flowrun.engine.backfill import go_on, hear
from flowrun.engine.backfills import KEPT, LEFT, Backfills, Windows
from flowrun.engine.ledger import FAILED, LIVE, NEVER, SUCCESS
from flowrun.messages import Backfill, BackfillState, Scheduled
from hypothesis import given
from hypothesis import strategies as st

DAY_MS = 86_400_000
FIRST = dt.date(2013, 1, 1)
T = "flights.daily"


def window(number: int) -> Scheduled:
    start = int(dt.datetime(2013, 1, 1, tzinfo=dt.UTC).timestamp() * 1000) + number * DAY_MS
    return Scheduled(start + DAY_MS, start, start + DAY_MS, (FIRST + dt.timedelta(days=number)).isoformat())


class Stage:
    """An engine, and a ledger as the triggers have it."""

    def __init__(self, *, past: bool = False, most: int | None = None) -> None:
        self.engine = Engine()
        self.known = {T}
        self.past, self.most = past, most
        self.states: dict[int, int] = {}
        self.started: list[Scheduled] = []
        self.count = 0

    def knows(self, trigger: str) -> bool:
        return trigger in self.known

    def state_of(self, trigger: str, at_ms: int) -> int:
        return self.states.get(at_ms, NEVER)

    def before(self, trigger: str, at_ms: int) -> int:
        earlier = [time for time in self.states if time < at_ms]
        return self.states[max(earlier)] if earlier else NEVER

    def start(self, trigger: str, scheduled: Scheduled, args: bytes) -> None:
        assert self.states.get(scheduled.at_ms, NEVER) not in (LIVE, SUCCESS), "a window is doubled"
        self.states[scheduled.at_ms] = LIVE
        self.started.append(scheduled)

    def depends_on_past(self, trigger: str) -> bool:
        return self.past

    def most_runs(self, trigger: str) -> int | None:
        return self.most

    def ask(self, times: list[int], *, concurrency: int = 3, **more: Any) -> Any:
        """What is answered: the state, the bytes of a dry one, or why not."""
        self.count += 1
        event = Backfill(T, f"q{self.count}", tuple(map(window, times)), concurrency, client="c", **more)
        self.engine.commands = []
        hear(self.engine, self, event)
        [answer] = self.engine.commands
        go_on(self.engine, self)
        if not answer.ok:  # type: ignore[union-attr]
            return answer.message  # type: ignore[union-attr]
        kind = bytes if more.get("dry") else BackfillState
        return msgspec.msgpack.decode(answer.value, type=kind)  # type: ignore[union-attr]

    def end(self, number: int, succeeded: bool = True) -> None:
        at_ms = window(number).at_ms
        self.states[at_ms] = SUCCESS if succeeded else FAILED
        self.engine.backfills.window_ended(T, at_ms, succeeded)
        go_on(self.engine, self)

    def told(self, name: str = "b") -> BackfillState:
        jobs = self.engine.backfills
        return jobs.live[name].told("running") if name in jobs.live else jobs.ended[name]

    @property
    def running(self) -> list[int]:
        return [n for n in range(100) if self.states.get(window(n).at_ms) == LIVE]


def test_so_many_at_a_time_in_order() -> None:
    stage = Stage()
    assert stage.ask(list(range(5)), name="b").state == "running"
    assert stage.running == [0, 1, 2]
    stage.end(1)
    assert stage.running == [0, 2, 3]
    stage.end(0, succeeded=False)
    for number in (2, 3, 4):
        stage.end(number)
    told = stage.told()
    assert (told.state, told.done, told.failed, told.left, told.running) == ("failed", 4, 1, 0, 0)
    assert told.failures == (window(0).start_ms,)
    assert (told.first_ms, told.last_ms) == (window(0).start_ms, window(4).start_ms)


def test_what_is_done_is_kept_and_what_failed_runs_again() -> None:
    stage = Stage()
    stage.ask([0, 1], name="b")
    stage.end(0)
    stage.end(1, succeeded=False)
    stage.ask([0, 1, 2], name="c")
    assert stage.running == [1, 2]
    assert stage.told("c").kept == 1


def test_only_what_failed() -> None:
    stage = Stage()
    stage.ask([0, 1], name="b")
    stage.end(0)
    stage.end(1, succeeded=False)
    stage.ask([0, 1, 2], name="c", only="failed")
    assert stage.running == [1]
    stage.end(1)
    told = stage.told("c")
    assert (told.state, told.done, told.kept, told.spared) == ("success", 1, 1, 1)


def test_the_same_again_attaches() -> None:
    stage = Stage()
    stage.ask([0, 1, 2, 3], name="b", concurrency=1)
    told = stage.ask([0, 1, 2, 3], name="b", concurrency=2)
    assert (told.total, told.concurrency) == (4, 2)
    assert stage.running == [0, 1]
    assert len(stage.engine.backfills.live) == 1


def test_a_window_that_runs_elsewhere_is_waited_for() -> None:
    stage = Stage()
    stage.states[window(1).at_ms] = LIVE
    stage.ask([0, 1, 2], name="b", concurrency=2)
    assert [time.date for time in stage.started] == ["2013-01-01", "2013-01-03"]
    stage.end(0)
    stage.end(2)
    assert stage.told().state == "running"
    stage.end(1, succeeded=False)
    assert (stage.told().state, stage.told().failed) == ("failed", 1)


def test_a_window_that_another_one_ran_meanwhile_is_kept() -> None:
    stage = Stage()
    stage.ask([0, 1], name="b", concurrency=1)
    stage.states[window(1).at_ms] = SUCCESS
    stage.end(0)
    assert (stage.told().state, stage.told().done, stage.told().kept) == ("success", 1, 1)


def test_many_windows_come_in_parts() -> None:
    stage = Stage()
    stage.ask([0, 1], name="b", total=4)
    stage.end(0)
    stage.end(1)
    assert stage.told().left == 2
    assert "missing" in stage.ask([3], name="b", first=3, total=4)
    stage.ask([0, 1], name="b", total=4)  # again: it has them
    stage.ask([2, 3], name="b", first=2, total=4)
    stage.end(2)
    stage.end(3)
    assert (stage.told().state, stage.told().done) == ("success", 4)
    assert "ended" in stage.ask([2, 3], name="b", first=2, total=4)


def test_stop_starts_nothing_more() -> None:
    stage = Stage()
    stage.ask([0, 1, 2], name="b", concurrency=2)
    stage.ask([], name="b", stop=True)
    stage.end(0)
    assert stage.running == [1]
    stage.end(1)
    told = stage.told()
    assert (told.state, told.done, told.left) == ("stopped", 2, 1)
    assert stage.ask([], name="b", stop=True).state == "stopped"
    assert "no backfill" in stage.ask([], name="x", stop=True)
    stage.ask([0, 1, 2], name="b")  # goes on
    assert stage.running == [2]


def test_the_past_counts() -> None:
    stage = Stage(past=True)
    stage.ask([0, 1, 2, 3], name="b")
    assert stage.running == [0]
    stage.end(0)
    assert stage.running == [1]
    stage.end(1, succeeded=False)
    told = stage.told()
    assert (told.state, told.left) == ("blocked", 2)
    assert "2013-01-03 failed" in told.why
    assert "in reverse" in stage.ask([3, 2, 1], name="r")


def test_the_past_may_run_elsewhere() -> None:
    stage = Stage(past=True)
    stage.states[window(0).at_ms] = LIVE
    stage.ask([1, 2], name="b")
    assert stage.running == [0]
    stage.end(0)
    assert stage.running == [1]


def test_reverse_and_the_most_runs_of_the_flow() -> None:
    stage = Stage(most=2)
    stage.ask([4, 3, 2, 1], name="b", concurrency=10)
    assert stage.running == [3, 4]
    stage.end(3)
    assert stage.running == [2, 4]


@pytest.mark.parametrize(
    ("times", "more", "why"),
    [
        ([], {}, "no windows"),
        ([0], {"concurrency": 0}, "at least one"),
        ([0], {"total": 100_001}, "at most 100,000"),
        ([0, 2, 1], {}, "order"),
        ([0, 0], {}, "order"),
    ],
)
def test_what_is_refused_changes_nothing(times: list[int], more: dict[str, Any], why: str) -> None:
    stage = Stage()
    assert why in stage.ask(times, name="b", **more)
    assert not stage.started
    assert not stage.engine.backfills.live


def test_a_trigger_that_goes_ends_it() -> None:
    stage = Stage()
    stage.known.clear()
    assert "no trigger `flights.daily`" in stage.ask([0], name="b")
    stage.known.add(T)
    stage.ask([0, 1], name="b", concurrency=1)
    stage.known.clear()
    stage.end(0)
    assert (stage.told().state, stage.told().why) == ("blocked", "its trigger is not deployed any more")


def test_a_dry_one_starts_nothing() -> None:
    stage = Stage()
    stage.states[window(0).at_ms] = SUCCESS
    assert stage.ask([0, 1], name="b", dry=True) == bytes((KEPT, LEFT))
    assert not stage.started
    assert not stage.engine.backfills.live


def test_the_same_message_counts_once() -> None:
    stage = Stage()
    event = Backfill(T, "q", (window(0),), 1, client="c", name="b")
    for _ in range(2):
        stage.engine.commands = []
        hear(stage.engine, stage, event)
        go_on(stage.engine, stage)
        assert len(stage.engine.commands) == 1
        if stage.running:
            stage.end(0)
    assert len(stage.started) == 1


@given(st.lists(st.integers(0, 60), unique=True, max_size=40), st.booleans())
def test_windows_are_found_by_their_time(numbers: list[int], falls: bool) -> None:
    windows = Windows()
    ordered = sorted(numbers, reverse=falls)
    for number in ordered:
        assert windows.fits((window(number),))
        windows.add((window(number),))
    assert [windows.find(window(number).at_ms) for number in range(61)] == [
        ordered.index(number) if number in ordered else -1 for number in range(61)
    ]
    assert Windows(*windows.pack()).pack() == windows.pack()
    assert [windows.scheduled(i, T).date for i in range(len(windows))] == [window(n).date for n in ordered]


@given(st.data())
def test_every_window_runs_once_also_over_snapshots(data: st.DataObject) -> None:
    total, concurrency = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 4))
    stage = Stage(past=data.draw(st.booleans()))
    stage.ask(list(range(total)), name="b", concurrency=concurrency)
    while stage.running:
        assert len(stage.running) <= concurrency
        stage.end(data.draw(st.sampled_from(stage.running)))
        if data.draw(st.booleans()):
            packed = stage.engine.backfills.pack()
            stage.engine.backfills = Backfills()
            stage.engine.backfills.restore(packed)
            assert stage.engine.backfills.pack() == packed
    assert stage.told().state == "success"
    assert sorted(time.at_ms for time in stage.started) == [window(n).at_ms for n in range(total)]
