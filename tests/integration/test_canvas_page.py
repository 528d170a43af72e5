"""The blocks of the page on the canvas are run against a node, with the module that the page shows."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flowrun import canvas
from flowrun.client import SyncClient
from flowrun.parameters import ArgumentError

from tests.support.live_node import LiveNode
from tests.support.modules import modules_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "specs/reference/14-canvas.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(?P<info>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match["info"], PAGE.count("\n", 0, match.start()) + 1, match["text"]) for match in _BLOCK.finditer(PAGE)]
FLOWC = str(Path(sys.executable).with_name("flowc"))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The page's module, with a client, in the folder of its flow."""
    folder = tmp_path_factory.mktemp("page")
    for name, info in (("tasks.py", "python tasks"), ("sums.flow", "flow")):
        (folder / name).write_text(next(text for found, _, text in BLOCKS if found == info))
    subprocess.run([FLOWC, "compile", "sums.flow"], cwd=folder, check=True, capture_output=True)
    (folder / ".flow/build/sums.flowplan").rename(folder / "sums.flowplan")
    with modules_of(folder), LiveNode(folder) as node:
        module = importlib.import_module("tasks")
        module.app.client = SyncClient(node.url)
        yield module
        module.app.close()


@pytest.mark.parametrize(("line", "text"), [(line, text) for info, line, text in BLOCKS if info == "python canvas"])
def test_block(tasks: ModuleType, line: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(tasks.__file__ or "").parent)
    names = {name: getattr(canvas, name) for name in canvas.__all__}
    exec(compile("\n" * line + text, "14-canvas.md", "exec"), {**names, **vars(tasks), "ArgumentError": ArgumentError})


def test_names_that_the_page_has() -> None:
    told = re.findall(r"`from celery[.\w]* import ([^`]+)`", PAGE)
    names = {name.strip() for listed in told for name in listed.split(",")}
    assert len(names) > 10
    assert names <= set(canvas.__all__)
