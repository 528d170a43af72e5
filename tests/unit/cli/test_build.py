"""Plans on disk and the manifest that tells whether they are stale."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flowc.plan import Plan
from flowcli.build import file_names, fresh_manifest, read_plan, write_build
from flowcli.errors import InputError


def plan_of(flow: str) -> Plan:
    return Plan(
        flow=flow, file="a.flow", params=(), returns=None, types=(), settings=(), tasks=(), blocks=(), version=1
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flow.toml").write_text("[project]\n")
    (tmp_path / "a.flow").write_text("flow a() {}\n")
    (tmp_path / "tasks.py").write_text("def f(): ...\n")
    return tmp_path


def build(root: Path, *flows: str, whole: bool = True) -> None:
    plans = [(flow, "a.flow", plan_of(flow)) for flow in flows]
    write_build(root, plans, main=None, sources=["a.flow"], whole=whole)


def test_plans_are_written_and_stale_ones_go(project: Path) -> None:
    build(project, "a", "b")
    build(project, "a")
    assert [path.name for path in (project / ".flow/build").glob("*.flowplan")] == ["a.flowplan"]
    assert read_plan(project / ".flow/build/a.flowplan").flow == "a"


def test_compiling_some_files_leaves_the_other_plans(project: Path) -> None:
    build(project, "a", "b")
    build(project, "a", whole=False)
    assert len(list((project / ".flow/build").glob("*.flowplan"))) == 2


def test_unchanged_sources_are_fresh(project: Path) -> None:
    build(project, "a")
    manifest = fresh_manifest(project)
    assert manifest is not None
    assert [flow.flow for flow in manifest.flows] == ["a"]
    os.utime(project / "a.flow", ns=(1, 1))  # touched, with the same content
    assert fresh_manifest(project) is not None


@pytest.mark.parametrize("change", ["edit", "edit python", "add", "remove", "flow.toml", "plan", "lost plan"])
def test_any_change_makes_plans_stale(project: Path, change: str) -> None:
    build(project, "a")
    match change:
        case "edit":
            (project / "a.flow").write_text("flow b() {}\n")
        case "edit python":
            (project / "tasks.py").write_text("def f(x: int): ...\n")
        case "add":
            (project / "lib").mkdir()
            (project / "lib/new.flow").write_text("flow c() {}\n")
        case "remove":
            (project / "tasks.py").unlink()
        case "flow.toml":
            (project / "flow.toml").write_text("[project]\nmain='a'\n")
        case "plan":
            (project / ".flow/build/a.flowplan").write_bytes(b"FLOWPLAN")
        case "lost plan":
            (project / ".flow/build/a.flowplan").unlink()
    assert fresh_manifest(project) is None


def test_environments_and_other_projects_do_not_count(project: Path) -> None:
    for name, mark in (("venv", "pyvenv.cfg"), ("other", "flow.toml"), (".hidden", "x")):
        (project / name).mkdir()
        (project / name / mark).touch()
    build(project, "a")
    for name in ("venv", "other", ".hidden"):
        (project / name / "more.py").touch()
    assert fresh_manifest(project) is not None


def test_flows_of_one_name_in_two_files_get_two_plans() -> None:
    assert file_names([("main", "a.flow"), ("main", "lib/b.flow"), ("other", "a.flow")]) == {
        "a.flow:main": "a.main.flowplan",
        "lib/b.flow:main": "lib.b.main.flowplan",
        "a.flow:other": "other.flowplan",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a plan"), (b"\x00\xff" * 50, "not a plan"), (b"FLOWPLAN" + b"0" * 60, "damaged")],
)
def test_what_is_no_plan_is_told_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.flowplan"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert message in caught.value.message
    assert caught.value.place == str(path)


def test_a_file_in_place_of_the_folder_is_told(project: Path) -> None:
    (project / ".flow").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        build(project, "a")
