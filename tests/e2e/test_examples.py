"""The examples compile together, and each runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from .conftest import ROOT, Project

EXAMPLES = ROOT / "specs/examples"
ORDER = {
    "id": "o-17", "amount": "12000.50", "region": "eu", "note": None,
    "items": [{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2}],
}  # fmt: skip


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy, so that the repository stays as it is."""
    target = tmp_path / "examples"
    shutil.copytree(EXAMPLES, target, ignore=shutil.ignore_patterns("out", ".flow", "in", "__pycache__"))
    return target


def test_all_compile_together(examples: Path) -> None:
    ended = Project(examples.parent).flowc("compile", "examples", "--json")
    report = ended.checked("compile")
    assert ended.code == 0
    assert {found["severity"] for found in report["diagnostics"]} <= {"warning"}
    assert {plan["flow"] for plan in report["plans"]} >= {"flights", "daily_sales", "thumbnails", "fulfil", "ops"}


@pytest.mark.parametrize(
    ("name", "params", "result"),
    [
        (
            "thumbnails",
            [],
            {"album": "holiday", "camera": "acme snap", "small": 6, "grid": 12, "failed": 0, "indexed": 6},
        ),
        ("features", [], -16),
        ("daily_sales", ["-p", "day=2026-01-31"], {"rows": 200, "bad": 11}),
        ("fulfil", ["-p", f"order={json.dumps(ORDER)}"], {"order": "o-17", "charged": "12000.50", "parcels": 2}),
    ],
)
def test_an_example_runs(examples: Path, name: str, params: list[str], result: object) -> None:
    ended = Project(examples / name).flowc("run", "--json", *params, env={"FLOW_SECRET_LAKE_KEY": "k"})
    report = ended.checked("run")
    assert ended.code == 0, report["error"]
    if isinstance(result, dict):
        assert report["result"].items() >= result.items()
    else:
        assert report["result"] == result


def test_a_refused_order_fails_at_its_approval(examples: Path) -> None:
    order = json.dumps({**ORDER, "amount": "200000"})
    ended = Project(examples / "fulfil").flowc("run", "--json", "-p", f"order={order}")
    report = ended.checked("run")
    assert (ended.code, report["state"]) == (1, "failed")
    assert (report["error"]["type"], report["error"]["step"]) == ("PermissionError", "decision")


# ---- the main job ---------------------------------------------------------------------------------------------------


def executions(folder: Path) -> list[tuple[str, str]]:
    """(task with its facts, "start" | "end" | "error"), in order."""
    lines = (folder / "out/executions.log").read_text().splitlines()
    return [tuple(line.split(" ", 1)[1].rsplit(" ", 1)) for line in lines]  # type: ignore[misc]


@pytest.mark.slow
def test_the_flights_job(examples: Path) -> None:
    flights = Project(examples / "flights")
    assert flights.flowc("compile").code == 0
    ended = flights.flowc("run", "--json", timeout=110)
    report = ended.checked("run")
    assert (ended.code, report["error"]) == (0, None)
    result = report["result"]
    assert (result["flights"], result["bad"], result["months"]) == (335_601, 1_175, 12)
    page = (flights.folder / result["report"]).read_text()
    assert page.count("<svg") == 5
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (flights.folder / result["published"]).read_text() == page
    published = next(step for step in report["steps"] if step["step"] == "published")
    assert (published["state"], published["attempts"]) == ("success", 2)
    assert json.loads((flights.folder / "out/status.json").read_text())["flights"] == 335_601
    quarantined = list((flights.folder / "out/quarantine").glob("*.parquet"))
    assert len(quarantined) == 4


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["extract_month", "enrich", "load"])
def test_the_flights_job_killed_in_the_middle_is_resumed(examples: Path, moment: str) -> None:
    flights = Project(examples / "flights")
    process = flights.start("run", "--json")
    log = flights.folder / "out/executions.log"
    until = time.monotonic() + 60
    while not (
        log.exists() and any(task.startswith(moment) and what == "end" for task, what in executions(flights.folder))
    ):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)  # a result is acknowledged within this time of its task's end
    before = executions(flights.folder)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)

    ended = flights.flowc("run", "--resume", "last", "--json", timeout=110)
    report = ended.checked("run")
    assert (ended.code, report["error"]) == (0, None)
    assert report["result"]["flights"] == 335_601
    starts = Counter(task for task, what in executions(flights.folder) if what == "start")
    finished = [task for task, what in before if what == "end"]
    assert finished
    assert {task: starts[task] for task in finished if starts[task] > 1} == {}
