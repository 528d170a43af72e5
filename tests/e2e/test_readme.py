"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import ROOT, Project

README = (ROOT / "README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for found, body in _BLOCK.findall(README) if found == language]


def test_sixty_seconds(project: Project) -> None:
    tasks, [_, hello, _] = blocks("python")[0], blocks("flow")
    project.write(tasks_py=tasks, hello_flow=hello)
    assert '["ada", "grace"]' in hello
    assert project.flowc("run", "hello.flow", "--json").json["result"] == ["HELLO ADA!", "HELLO GRACE!"]
    assert project.flowc("run", "hello.flow", "-p", 'names=["alan"]', "--json").json["result"] == ["HELLO ALAN!"]


def test_the_first_example_compiles(project: Project) -> None:
    first = blocks("flow")[0]
    tasks = """
        def list_photos(album: str) -> list[str]: ...
        def resize(photo: str, size: int) -> str: ...
        def crop(photo: str) -> str: ...
        def build_report(photos: list[str]) -> str: ...
    """
    report = project.write(tasks_py=tasks, main_flow=first).flowc("compile", "main.flow", "--json").json
    assert report["diagnostics"] == []
    assert [plan["flow"] for plan in report["plans"]] == ["thumbnails"]


def test_the_flow_on_a_schedule_compiles(project: Project) -> None:
    tasks, [_, _, nightly] = blocks("python")[0], blocks("flow")
    report = project.write(tasks_py=tasks, nightly_flow=nightly).flowc("compile", "nightly.flow", "--json").json
    assert report["diagnostics"] == []


@pytest.mark.parametrize("page", [path.relative_to(ROOT) for path in (ROOT / "specs" / "reference").glob("*.md")] + [
    Path("README.md"), Path("CONTRIBUTING.md"), Path("specs/examples/flights/README.md"),
], ids=str)  # fmt: skip
def test_links_name_files_that_exist(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []
