"""From files to plans."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from flowc import plan
from flowc.pipeline import Compilation, compile_paths
from flowc.project import discover, find_project
from flowc.render import render_text
from hypothesis import given, settings
from hypothesis import strategies as st

TASK = 'task greet(name: string) returns string {\n  run: shell("echo ${name}")\n}\n'
HELLO = TASK + 'flow hello(name: string = "world") returns string {\n  return greet(name)\n}\n'


def compiled(root: Path, *paths: str, **files: str) -> Compilation:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return compile_paths(find_project(root), [root / path for path in paths])


def codes(compilation: Compilation) -> list[str]:
    return [found.name for found in compilation.diagnostics]


def test_a_plan_per_flow(tmp_path: Path) -> None:
    two = HELLO + "flow again { hello() }\n"
    found = compiled(tmp_path, a_dot_flow=two, sub__b_dot_flow=HELLO.replace("hello", "other"))
    assert codes(found) == []
    assert [(flow.flow, flow.file) for flow in found.plans] == [
        ("hello", "a.flow"),
        ("again", "a.flow"),
        ("other", "sub/b.flow"),
    ]
    assert found.program is not None
    for flow in found.plans:
        assert flow.hash == plan.digest(plan.encode(flow.plan))
        assert plan.decode(plan.encode(flow.plan)) == flow.plan


def test_only_flows_of_the_given_files_become_plans(tmp_path: Path) -> None:
    files = {"a_dot_flow": HELLO, "b_dot_flow": 'use "a.flow" { hello }\nflow main { hello() }\n'}
    assert [flow.flow for flow in compiled(tmp_path, "b.flow", **files).plans] == ["main"]
    assert [flow.flow for flow in compiled(tmp_path, "a.flow", "a.flow").plans] == ["hello"]
    assert len(compiled(tmp_path, ".").plans) == 2


def test_the_same_source_gives_the_same_plan_anywhere(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = compiled(tmp_path / "one", a_dot_flow=HELLO)
    second = compiled(tmp_path / "two", a_dot_flow=HELLO)
    assert first.plans[0].hash == second.plans[0].hash


def test_errors_anywhere_mean_no_plans(tmp_path: Path) -> None:
    found = compiled(tmp_path, a_dot_flow=HELLO, b_dot_flow="flow broken { nothing(1) }\n")
    assert codes(found) == ["unknown-name"]
    assert (found.program, found.plans, found.has_errors) == (None, (), True)


def test_warnings_do_not_hinder(tmp_path: Path) -> None:
    found = compiled(tmp_path, a_dot_flow='use "b.flow" { greet }\nflow f { }\n', b_dot_flow=TASK)
    assert "unused-import" in codes(found)
    assert len(found.plans) == 1


def test_silenced_warnings_are_gone(tmp_path: Path) -> None:
    use = 'use "b.flow" { greet } # flow: ignore[unused-import] soon\n'
    found = compiled(tmp_path, a_dot_flow=use + 'task t { run: shell("x") }\nflow f { t() }\n', b_dot_flow=TASK)
    assert codes(found) == []


def test_findings_of_the_project_file_come_first_class(tmp_path: Path) -> None:
    found = compiled(tmp_path, flow_dot_toml="[project]\nnaem = 'x'\n", a_dot_flow=HELLO)
    assert codes(found) == ["unknown-project-key"]
    assert found.plans == ()
    assert found.sources["flow.toml"].text.startswith("[project]")


def test_nothing_to_compile(tmp_path: Path) -> None:
    assert codes(compiled(tmp_path)) == ["no-sources"]
    assert codes(compiled(tmp_path, "none.flow")) == ["unreadable-file"]


def test_texts_can_stand_in_for_files(tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_text("flow broken {")
    found = compile_paths(find_project(tmp_path), overlay={tmp_path / "a.flow": HELLO})
    assert [flow.flow for flow in found.plans] == ["hello"]


def test_a_tower_of_declarations_is_a_finding(tmp_path: Path) -> None:
    tower = "".join(f"type T{i} = list<T{i + 1}>\n" for i in range(3000)) + "type T3000 = int\n"
    found = compiled(tmp_path, a_dot_flow=tower + HELLO)
    assert codes(found) == ["nesting-too-deep"]
    assert found.plans == ()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_is_left_as_it_was(tmp_path: Path, was_enabled: bool) -> None:
    if not was_enabled:
        gc.disable()
    try:
        compiled(tmp_path, a_dot_flow=HELLO)
        assert gc.isenabled() == was_enabled
    finally:
        gc.enable()


def test_importing_the_pipeline_loads_nothing_of_the_runtime() -> None:
    heavy = {"asyncio", "click", "nats", "rich"}
    code = f"import sys, flowc.pipeline; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


EXAMPLES = Path(__file__).parents[2] / "specs" / "examples"
PATHS = [path for folder in sorted(EXAMPLES.iterdir()) if folder.is_dir() for path in discover(find_project(folder))]
DAMAGE = ["", "{", ")", '"', "${", "->", "= =", "each", "x", "\n", "é", "\0", "[" * 200]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_gives_findings_with_places_and_no_crash(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS))
    text = path.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 40))
    inserted = data.draw(
        st.sampled_from(["", "{", ")", '"', "${", "->", "= =", "each", "x", "\n", "é", "\0", "[" * 200])
    )
    damaged = text[:start] + inserted + text[start + removed :]
    found = compile_paths(find_project(path), [path], overlay={path: damaged})
    for diagnostic in found.diagnostics:
        assert diagnostic.message
        for span in (diagnostic.span, *(label.span for label in diagnostic.labels)):
            source = found.sources[span.file]
            assert 0 <= span.start <= span.end <= len(source.text)
    assert render_text(found.diagnostics, found.sources) or not found.diagnostics
    assert found.plans or found.has_errors or "flow " not in damaged
