"""Whatever of a run runs again, it ends as the interpreter says that the whole program does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flowc.pipeline import compile_paths
from flowc.project import find_project
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.reference.behaviours import TASKS
from tests.reference.compare import differences
from tests.reference.direct import Direct
from tests.reference.interpreter import interpret
from tests.reference.programs import BEHAVIOURS, Source, programs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the tasks of the random programs."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(BEHAVIOURS, folder / "behaviours.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(source=programs(), order=st.integers(0, 1_000), place=st.integers(0, 20))
def test_a_rerun_ends_as_the_whole_program(root: Path, source: Source, order: int, place: int) -> None:
    path = root / "program.flow"
    path.write_text(source.text)
    found = compile_paths(find_project(root), [path])
    assert found.program is not None
    main = next(plan for plan in found.plans if plan.flow == "main").plan
    key = next(key for key, flow in found.program.flows.items() if flow.name == "main")
    report = interpret(found.program, key, TASKS, source.args)
    run = Direct(main, root, order, renewed=order % 3 == 1)
    run.run(source.args)
    names = [node.name for node in main.blocks[0].nodes[main.blocks[0].params :] if node.name]
    steps = [names[place % len(names)]] if names and place else []
    record = run.rerun(*steps)
    assert differences(report, record, "json", run.get, attempts=False) == [], (steps, source.text)
