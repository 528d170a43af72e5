"""Whatever of a run runs again, also under another plan, ends as the interpreter says that the whole program does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from flowc.ir import Program
from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference.behaviours import TASKS
from tests.reference.compare import differences
from tests.reference.direct import Direct
from tests.reference.interpreter import interpret
from tests.reference.outcomes import UNDO
from tests.reference.programs import BEHAVIOURS, Source, programs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the tasks of the random programs."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(BEHAVIOURS, folder / "behaviours.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


MANY = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def compiled(root: Path, text: str) -> tuple[Program, str, Plan] | None:
    """The program, the key of its main flow, and that one's plan; None if there are errors."""
    path = root / "program.flow"
    path.write_text(text)
    found = compile_paths(find_project(root), [path])
    if found.program is None or any(diagnostic.severity == "error" for diagnostic in found.diagnostics):
        return None
    key = next(key for key, flow in found.program.flows.items() if flow.name == "main")
    return found.program, key, next(plan for plan in found.plans if plan.flow == "main").plan


@MANY
@given(source=programs(), order=st.integers(0, 1_000), place=st.integers(0, 20))
def test_a_rerun_ends_as_the_whole_program(root: Path, source: Source, order: int, place: int) -> None:
    found = compiled(root, source.text)
    assert found is not None
    program, key, main = found
    report = interpret(program, key, TASKS, source.args)
    run = Direct(main, root, order, renewed=order % 3 == 1)
    run.run(source.args)
    names = [node.name for node in main.blocks[0].nodes[main.blocks[0].params :] if node.name]
    steps = [names[place % len(names)]] if names and place else []
    record = run.rerun(*steps)
    assert differences(report, record, "json", run.get, attempts=False) == [], (steps, source.text)


#: what is written instead
_OTHERS = {"inc": "risky", "risky": "moody", "moody": "inc", "add": "pick", "name": "name", "note": "note"}
_SPOT = re.compile(r"\b(?:\d+|inc|risky|moody|add|note)\b(?![msh])")


def mutated(text: str, place: int, count: int) -> str:
    """The program with other numbers or tasks at some places of its flows."""
    for number in range(count):
        start = text.index("\nflow ")
        spots = [*_SPOT.finditer(text, start)]
        if not spots:
            break
        spot = spots[(place * (number + 7)) % len(spots)]
        other = _OTHERS.get(spot[0], str(int(spot[0]) + 1) if spot[0].isdigit() else "")
        text = text[: spot.start()] + other + text[spot.end() :]
    return text


@MANY
@given(source=programs(), order=st.integers(0, 1_000), place=st.integers(0, 1_000), count=st.integers(0, 3))
def test_a_fork_ends_as_the_new_program(root: Path, source: Source, order: int, place: int, count: int) -> None:
    old, new = compiled(root, source.text), compiled(root, mutated(source.text, place, count))
    assert old is not None
    if new is None or "join:" in source.text:  # members of a join must not give different values
        return
    program, key, plan = new
    report = interpret(program, key, TASKS, source.args)
    run = Direct(old[2], root, order)
    before = run.run(source.args)
    record = run.fork(plan, {})
    if record.error is not None and record.error.type == "NotFound":
        return
    if before.state == "success":  # what it did is its own, and not undone by who takes its results
        report = replace(report, rows=tuple(row for row in report.rows if UNDO not in row.step))
        record = msgspec.structs.replace(record, steps=tuple(s for s in record.steps if UNDO not in s.step))
    assert differences(report, record, "json", run.get, attempts=False) == [], mutated(source.text, place, count)
