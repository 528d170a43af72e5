"""The canvas of a Celery tutorial, with nothing changed but imports: a real server, a node, executor processes."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flowrun.client import SyncClient

from tests.support.live_node import LiveNode

EXAMPLE = Path(__file__).parents[2] / "specs/examples/celery"
PARTS = ("first_steps", "signatures", "chains", "groups", "chords", "map_and_chunks", "callbacks", "dynamic_work")


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The example, with a client."""
    folder = tmp_path_factory.mktemp("celery") / "celery"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".flow", "__pycache__"))
    sys.path.insert(0, str(folder))
    try:
        with LiveNode(folder) as node:
            main = importlib.import_module("main")
            main.app.client = SyncClient(node.url)
            yield main
            main.app.close()
    finally:
        sys.path.remove(str(folder))
        for name in ("main", "tasks"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("part", PARTS)
def test_part_of_the_tutorial(tutorial: ModuleType, part: str) -> None:
    getattr(tutorial, part)()


def test_the_example_runs_all_parts(tutorial: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    tutorial.main()
    said = capsys.readouterr().out
    assert [part for part in PARTS if f"{part} ✓" in said] == list(PARTS)
