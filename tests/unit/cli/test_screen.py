"""The tree, the plain lines and the live picture, from made-up notes."""

from __future__ import annotations

import io

import pytest
from flowc.plan import (
    ChildNode,
    EachNode,
    HandlerDef,
    Node,
    Plan,
    PlanBlock,
    RetryPolicy,
    StepSettings,
    TaskNode,
    ValueNode,
)
from flowcli.screen.live import LiveView
from flowcli.screen.plain import PlainView
from flowcli.screen.style import seconds_text
from flowcli.screen.tree import Tree
from flowrun.messages import LogNote, StateNote, StepNote
from rich.console import Console


def task(name: str, *, box: tuple[str, ...] = (), settings: int = 0) -> TaskNode:
    return TaskNode(name=name, task=0, args=(), settings=settings, box=box)


def plan_of(*nodes: Node, **more: object) -> Plan:
    fields = {
        "flow": "demo",
        "file": "demo.flow",
        "params": (),
        "returns": None,
        "types": (),
        "settings": (
            StepSettings(),
            StepSettings(retry=RetryPolicy(max=3, backoff="exponential", first_ms=1000, factor=2.0, cap_ms=3000)),
        ),
        "tasks": (),
        "blocks": (PlanBlock(nodes=nodes, params=0), PlanBlock(nodes=(task("tell"),), params=0)),
        "version": 1,
    }
    return Plan(**(fields | more))


CHILD = plan_of(task("inner"), flow="child")
PLAN = plan_of(
    task("first"),
    ValueNode(name="", value=["lit", 1]),
    EachNode(name="items", source=["in", 0], body=1),
    task("left", box=("pair",)),
    task("right", box=("pair",)),
    ChildNode(name="sub", flow="child", args=(), settings=0),
    task("flaky", settings=1),
    handlers=(HandlerDef(event="failure", block=1),),
    children={"child": CHILD},
)


def note(*steps: StepNote) -> StateNote:
    return StateNote("r1", "running", steps)


def test_rows_are_the_named_steps_in_written_order() -> None:
    tree = Tree(PLAN)
    assert [row.name for row in tree.walk()] == [
        "first", "items", "pair", "left", "right", "sub", "inner", "flaky", "on failure", "tell",
    ]  # fmt: skip
    assert tree.row("sub.inner").name == "inner"


def test_a_box_shows_what_its_rows_come_to() -> None:
    tree = Tree(PLAN)
    pair = tree.rows[2]
    assert pair.shown_state == "waiting"
    tree.apply(note(StepNote("left", None, "running")), 0.0)
    assert pair.shown_state == "running"
    tree.apply(note(StepNote("left", None, "success"), StepNote("right", None, "skipped")), 1.0)
    assert pair.shown_state == "success"
    tree.apply(note(StepNote("right", None, "failed")), 2.0)
    assert pair.shown_state == "failed"


def test_a_step_that_the_plan_does_not_name_gets_a_row() -> None:
    tree = Tree(PLAN)
    tree.apply(note(StepNote("surprise", None, "running")), 0.0)
    assert tree.rows[-1].name == "surprise"
    tree.apply(note(StepNote("sub.undo inner", None, "running")), 0.0)
    sub = tree.row("sub")
    assert [row.name for row in sub.rows] == ["inner", "undo inner"]


def test_a_flow_that_calls_itself_grows_as_it_goes_deeper() -> None:
    own = plan_of(task("leaf"), ChildNode(name="again", flow="own", args=(), settings=0), flow="own")
    tree = Tree(plan_of(ChildNode(name="start", flow="own", args=(), settings=0), children={"own": own}))
    assert [row.step for row in tree.walk()] == ["start", "start.leaf", "start.again"]
    tree.apply(note(StepNote("start.again.again.leaf", None, "success")), 0.0)
    again = tree.row("start.again")
    assert [row.step for row in again.walk()] == ["start.again", "start.again.again", "start.again.again.leaf"]
    for depth in range(100):
        tree.apply(note(StepNote("start." + "again." * depth + "leaf", None, "success")), 0.0)
    assert tree.counts()["success"] >= 100


@pytest.mark.parametrize(("attempt", "due"), [(2, 11.0), (3, 12.0), (4, 13.0), (9, 13.0)])
def test_the_next_attempt_is_due_after_its_backoff(attempt: int, due: float) -> None:
    tree = Tree(PLAN)
    tree.apply(note(StepNote("flaky", None, "retrying", attempt=attempt)), 10.0)
    assert tree.row("flaky").retry_at() == due
    assert tree.row("first").retry_at() is None


def plain() -> tuple[PlainView, list[str]]:
    lines: list[str] = []
    return PlainView(Tree(PLAN), lines.append), lines


def test_plain_lines_say_once_what_a_step_waits_for() -> None:
    view, lines = plain()
    for _ in range(2):
        view.state(note(StepNote("first", None, "waiting", message="waits for the signal `go`")), 0.0)
    view.state(note(StepNote("left", None, "waiting")), 0.0)
    view.state(note(StepNote("first", None, "success", seconds=1.5)), 1.0)
    assert lines == ["first: waits for the signal `go`", "first: success (1.50 s)"]


def test_plain_lines_one_per_change() -> None:
    view, lines = plain()
    view.start("r1", resumed=False)
    view.state(note(StepNote("first", None, "ready")), 0.0)
    view.state(note(StepNote("first", None, "running")), 0.1)
    view.state(note(StepNote("first", None, "running")), 0.2)
    view.state(note(StepNote("first", None, "success", seconds=0.25)), 0.3)
    view.state(note(StepNote("flaky", None, "retrying", attempt=2, message="Busy: try\nagain")), 0.4)
    view.state(note(StepNote("flaky", None, "running", attempt=2)), 0.5)
    view.log(LogNote("r1", "flaky", 3, 2, "out", "one\ntwo\n"))
    assert lines == [
        "run r1: demo started",
        "first: running",
        "first: success (0.25 s)",
        "flaky: retrying, attempt 2 follows: Busy: try again",
        "flaky: running",
        "flaky[3] | one",
        "flaky[3] | two",
    ]


def test_progress_of_an_each_comes_at_most_once_a_second() -> None:
    view, lines = plain()
    for tenth in range(25):
        view.state(note(StepNote("items", None, "running", total=25, done=tenth)), tenth / 10)
    view.state(note(StepNote("items", None, "success", total=25, done=24, failed=1)), 2.5)
    assert lines == [
        "items: running 0/25",
        "items: running 10/25",
        "items: running 20/25",
        "items: success 25/25, 1 failed",
    ]


def test_a_flood_of_output_is_cut() -> None:
    view, lines = plain()
    view.log(LogNote("r1", "first", None, 1, "out", "x\n" * 5_000))
    assert len(lines) == 101
    assert lines[-1] == "first | … 4900 more lines"


def picture(*notes: StateNote, height: int = 40, log: str = "") -> str:
    """What is on the screen before the end."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=height, color_system=None)
    view = LiveView(Tree(PLAN), console)
    view.start("r1", resumed=False)
    for one in notes:
        view.state(one, 0.0)
    if log:
        view.log(LogNote("r1", "first", None, 1, "out", log))
    file.truncate(0)
    file.seek(0)
    view.tick(1e12)
    drawn = file.getvalue()
    view.stop()
    return drawn


def test_the_live_tree_shows_states_counts_errors_and_the_last_log_line() -> None:
    drawn = picture(
        note(StepNote("first", None, "success", seconds=1.5)),
        note(StepNote("items", None, "running", total=10, done=4, failed=1, message="Oops")),
        note(StepNote("flaky", None, "failed", message="ValueError: no\nmore")),
        log="hello\nthere\n",
    )
    for text in (
        "✓ first",
        "1.50 s",
        "5/10",
        "1 failed: Oops",
        "✗ flaky",
        "ValueError: no",
        "first | there",
        "to come",
    ):
        assert text in drawn
    assert "left" not in drawn  # the box is folded
    assert "on failure" not in drawn


def test_a_box_unfolds_when_something_in_it_fails() -> None:
    drawn = picture(note(StepNote("left", None, "failed", message="bad")))
    assert "✗ left" in drawn
    assert "right" in drawn


def test_a_tree_higher_than_the_screen_folds_what_is_done() -> None:
    names = [f"s{number:02}" for number in range(40)]
    notes = note(*(StepNote(name, None, "success") for name in names), StepNote("flaky", None, "running"))
    drawn = picture(notes, height=15)
    assert "steps done" in drawn
    assert "flaky" in drawn
    assert drawn.count("\n") < 15


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.014, "0.01 s"), (12.34, "12.3 s"), (185, "3 m 05 s"), (7380, "2 h 03 m")]
)
def test_times(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
