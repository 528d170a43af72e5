"""Service levels on the command line: `flowc sla`, `flowc ps`, and what a run prints, against a real node."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .test_commands import Environment, running_node, wait_until

FLOWS = """
use "work.py" { slow, note }

sla quick { finish: 1s, warn: 0.5 }

flow late(seconds: float = 2.0) returns int {
  sla: quick
  x = slow(seconds) with { sla: { start: 10m } }
  return x
  on sla_miss(m) { note("${m.what} ${if m.warning then "warning" else "miss"} by ${m.by}") }
}

flow plain(seconds: float = 0.1) returns int {
  x = slow(seconds)
  y = slow(0.0) after x
  return x + y
}
"""
WORK = """
import time

def slow(seconds: float) -> int:
    time.sleep(seconds)
    return 1

def note(text: str) -> None:
    print(text)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    yield from running_node(tmp_path_factory.mktemp("environment"), FLOWS, WORK)


def test_levels_are_shown_and_counted(here: Environment) -> None:
    run = here.submit("--flow", "late", "-p", "seconds=4")
    wait_until(lambda: "missed its level: run" in here.on("ps").out)
    wait_until(lambda: here.state(run) == "success")
    shown = here.on("ps", run)
    assert re.search(r"^late: .*, and ended \d\.\d+ s later$", shown.out, re.MULTILINE), shown.out
    assert re.search(r"^in time: x was to begin by ", shown.out, re.MULTILINE)
    told = [re.sub(r"[\d.]+", "0", line) for line in here.on("logs", run).out.splitlines()]
    assert len(told) == 2

    table = here.on("sla", "late").out
    assert re.search(r"^late +finish \(quick\) +0 +1 +0\.0 % +1 +0$", table, re.MULTILINE), table
    assert re.search(rf"^{run} +late +finish \(quick\) +[\d:]+ +\d\.\d+ s later$", table, re.MULTILINE), table
    found = here.on("sla", "late", "--json", "--since", "1d").checked("answers")
    assert [(one["step"], one["what"], one["met"], one["missed"], one["warned"]) for one in found["levels"]] == [
        (None, "finish", 0, 1, 1), ("x", "start", 1, 0, 0),
    ]  # fmt: skip
    assert [miss["run"] for miss in found["misses"]] == [run]
    assert here.on("sla", "plain").out == "no run of flow plain had a service level in this time\n"


def test_a_bad_time_is_refused(here: Environment) -> None:
    ended = here.on("sla", "--since", "soon")
    assert (ended.code, "write a day as 2026-01-31, or an age as 12h" in ended.err) == (2, True)


def test_the_expected_end_follows_from_earlier_runs(here: Environment) -> None:
    here.flowc("compile", "flows.flow")
    run = here.python("""
from flowrun import SyncClient

with SyncClient() as client:
    for _ in range(5):
        client.submit(".flow/build/plain.flowplan").result(timeout=20)
    print(client.submit(".flow/build/plain.flowplan", {"seconds": 60.0}).id)
""").strip()
    wait_until(lambda: "late by" in here.on("ps", run).out)
    listed = here.on("ps", "--json").checked("answers")["runs"]
    assert [one["expected"] is not None for one in listed] == [True]
    here.on("cancel", run)
