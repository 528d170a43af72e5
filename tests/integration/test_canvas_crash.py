"""A node and its server are killed while canvases stand in place of tasks; started again, they go on."""

from __future__ import annotations

import importlib
import sys
import textwrap
import time
from pathlib import Path

import pytest
from flowrun.canvas import group
from flowrun.client import SyncClient

from tests.support.live_node import LiveNode

TASKS = """
    import time
    from pathlib import Path
    from flowrun.canvas import Celery, Extend, Replace, chain, group

    app = Celery("slow_tasks")

    @app.task
    def wait(x):
        time.sleep(0.3)
        return x

    @app.task
    def add(xs):
        return sum(xs)

    @app.task
    def spread(x):
        with Path("calls").open("a") as file:
            file.write(f"{x} ")
        return Replace(group(wait.s(i) for i in range(x)) | add.s())

    @app.task
    def more(x):
        return Extend(x, [chain(wait.s(x), wait.s())])
"""


def test_canvases_survive_the_death_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_tasks.py").write_text(textwrap.dedent(TASKS))
    monkeypatch.syspath_prepend(str(tmp_path))
    tasks = importlib.import_module("slow_tasks")
    with LiveNode(tmp_path) as node:
        tasks.app.client = SyncClient(node.url)
        first = (group(tasks.spread.s(i) for i in range(4)) | tasks.add.s()).delay()
        second = group(tasks.more.s(i) for i in range(3)).delay()
        until = time.monotonic() + 20
        while not (tmp_path / "calls").exists() or len((tmp_path / "calls").read_text().split()) < 4:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.2)
        node.kill()
    with LiveNode(tmp_path) as node:
        client = tasks.app.client = SyncClient(node.url)
        assert client.result(first.id, timeout=60) == sum(sum(range(i)) for i in range(4))
        assert client.result(second.id, timeout=60) == [0, 0, 1, 1, 2, 2]
        tasks.app.close()
    assert sorted((tmp_path / "calls").read_text().split()) == ["0", "1", "2", "3"]
    sys.modules.pop("slow_tasks")
