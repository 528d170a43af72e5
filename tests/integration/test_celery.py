"""The canvas of a Celery tutorial, with nothing changed but imports: a real server, a node, executor processes."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flowrun.canvas import TaskRevokedError, chain, chord, flow, group
from flowrun.client import SyncClient
from flowrun.parameters import ArgumentError

from tests.support.live_node import LiveNode
from tests.support.modules import modules_of

FLOWC = str(Path(sys.executable).with_name("flowc"))
EXAMPLE = Path(__file__).parents[2] / "specs/examples/celery"
PARTS = ("first_steps", "signatures", "chains", "groups", "chords", "map_and_chunks", "callbacks", "dynamic_work",
         "tasks_that_submit_others")  # fmt: skip


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The example, with a client."""
    folder = tmp_path_factory.mktemp("celery") / "celery"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".flow", "__pycache__"))
    with modules_of(folder), LiveNode(folder) as node:
        main = importlib.import_module("main")
        main.app.client = SyncClient(node.url)
        yield main
        main.app.close()


@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_tutorial(tutorial: ModuleType, part: str) -> None:
    getattr(tutorial, part)()


def test_the_example_runs_all_parts(tutorial: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    tutorial.main()
    said = capsys.readouterr().out
    assert [part for part in PARTS if f"{part} ✓" in said] == list(PARTS)


# ---- results --------------------------------------------------------------------------------------------------------


def test_states_of_a_run_that_goes_on(tutorial: ModuleType) -> None:
    later = tutorial.add.apply_async((1, 1), countdown=60)
    assert (later.state, later.ready(), later.result) == ("PENDING", False, None)
    with pytest.raises(TimeoutError):
        later.get(timeout=0.2)
    later.revoke()
    assert (later.state, later.failed()) == ("REVOKED", True)
    with pytest.raises(TaskRevokedError):
        later.get(timeout=10)
    waits = (tutorial.add.s(1, 1) | tutorial.add.s(1).set(countdown=60)).delay()
    assert not waits.ready()
    assert waits.parent.id == f"{waits.id}/add"
    until = time.monotonic() + 10
    while waits.parent.state != "SUCCESS":
        assert time.monotonic() < until
    some = group(tutorial.add.s(1, 1), tutorial.mul.s(2, 2).set(countdown=60)).delay()
    while some.completed_count() < 1:
        assert time.monotonic() < until
    assert ([member.state for member in some], some.waiting()) == (["SUCCESS", "PENDING"], True)
    some.revoke()
    assert isinstance(some.get(timeout=10, propagate=False)[1], TaskRevokedError)
    assert some[0].get() == 2
    waits.revoke(terminate=True)
    assert isinstance(waits.get(timeout=10, propagate=False), TaskRevokedError)


def test_a_result_by_its_id(tutorial: ModuleType) -> None:
    result = (tutorial.add.s(1, 1) | tutorial.add.s(1)).delay()
    assert result.get(timeout=10) == 3
    again = tutorial.app.AsyncResult(result.id)
    assert (again.get(), again.state, again == result) == (3, "SUCCESS", True)
    part = tutorial.app.AsyncResult(f"{result.id}/add")
    assert (part.get(), part.state) == (2, "SUCCESS")
    many = group(tutorial.add.s(i, i) for i in range(3)).delay()
    assert many.get(timeout=10) == [0, 2, 4]
    assert tutorial.app.AsyncResult(f"{many.id}/group/2").get() == 4
    assert many[1].id == f"{many.id}/add/1"


def test_results_that_are_ignored(tutorial: ModuleType) -> None:
    result = tutorial.add.apply_async((1, 1), ignore_result=True)
    assert (result.get(timeout=10), result.state) == (None, "SUCCESS")


def test_an_id_of_your_own(tutorial: ModuleType) -> None:
    result = tutorial.add.apply_async((1, 1), task_id="mine-1")
    assert (result.id, result.get(timeout=10)) == ("mine-1", 2)


def test_a_group_of_which_some_fail(tutorial: ModuleType) -> None:
    result = group(tutorial.divide.s(6, i) for i in range(3)).delay()
    found = result.get(timeout=10, propagate=False)
    assert [type(value) for value in found] == [ZeroDivisionError, float, float]
    assert (result.completed_count(), result.failed(), result.successful(), result.waiting()) == (2, True, False, False)
    assert [member.state for member in result] == ["FAILURE", "SUCCESS", "SUCCESS"]
    assert result[2].get() == 3.0
    with pytest.raises(ZeroDivisionError):
        result.join()


def test_groups_within_groups(tutorial: ModuleType) -> None:
    add, mul = tutorial.add, tutorial.mul
    result = group(group(add.s(i, j) for j in range(2)) for i in range(2)).delay()
    assert result.get(timeout=10) == [[0, 1], [1, 2]]
    assert result[1][1].get() == 2
    mixed = group(add.s(1, 1) | mul.s(2), group(mul.s(2, i) for i in range(2))).delay()
    assert mixed.get(timeout=10) == [4, [0, 2]]
    assert (mixed[0].parent.get(), mixed[1][1].get()) == (2, 2)


def test_a_chord_knows_its_header(tutorial: ModuleType) -> None:
    result = tutorial.chord([tutorial.add.s(i, i) for i in range(3)])(tutorial.xsum.s())
    assert result.get(timeout=10) == 6
    assert (result.parent.get(), result.parent[2].get()) == ([0, 2, 4], 4)


def test_parents_of_parts_within_parts(tutorial: ModuleType) -> None:
    add, xsum = tutorial.add, tutorial.xsum
    body = chord([add.s(1), add.s(2)], xsum.s())
    result = chain(add.s(1, 1), body, add.s(10).set(queue="default") | add.s(100)).delay()
    assert result.get(timeout=10) == 117
    values = []
    while result is not None:
        values.append(result.get())
        result = result.parent
    assert values == [117, 17, 7, [3, 4], 2]
    nested = chain(add.s(1, 1), chain(add.s(1), add.s(2)).set(countdown=0.01), add.s(3)).delay()
    assert (nested.get(timeout=10), nested.parent.get(), nested.parent.parent.get()) == (8, 5, 3)
    assert nested.parent.parent.parent.get() == 2


def test_a_thousand_calls_and_back(tutorial: ModuleType) -> None:
    result = tutorial.chord(tutorial.add.s(i, i) for i in range(10_000))(tutorial.xsum.s())
    assert result.get(timeout=60) == sum(2 * i for i in range(10_000))


def test_a_flow_in_a_canvas(tutorial: ModuleType) -> None:
    folder = Path(tutorial.__file__ or "").parent
    assert subprocess.run([FLOWC, "compile", "sums.flow"], cwd=folder, capture_output=True, check=False).returncode == 0
    sums = flow(folder / ".flow/build/sums.flowplan")
    assert sums.s(n=4).delay().get(timeout=30)["doubled"] == 12
    assert group(sums.s(n) for n in range(3)).delay().get(timeout=30)[2]["replaced"] == 2
    kept = (tutorial.add.s(1, 1) | sums.s() | chain(sums.si(1))).delay()
    assert kept.get(timeout=30)["page"]["retries"] == 2
    assert kept.parent.get()["doubled"] == 2
    with pytest.raises(ArgumentError, match="`sums` has no parameter `m`"):
        sums.s(m=1).delay()
