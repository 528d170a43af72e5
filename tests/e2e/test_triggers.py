"""`flowc trigger` against a real node: deployed flows start by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .test_commands import Environment, running_node, wait_until

FLOWS = """
use "work.py" { note }

flow often() returns string {
  trigger each_second = interval(1s)
  return note("often")
}

flow odd() returns string {
  trigger own = custom("times:every_two_seconds")
  return note("odd")
}

flow next() returns string {
  trigger behind = after_flow(odd)
  return note("next")
}
"""
WORK = """
def note(text: str) -> str:
    with open("FOLDER/notes.txt", "a") as file:
        file.write(text + "\\n")
    return text
"""
TIMES = """
import datetime as dt

def every_two_seconds(after: dt.datetime) -> dt.datetime:
    return after + dt.timedelta(seconds=2)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    folder = tmp_path_factory.mktemp("environment")
    (folder / "flow.toml").write_text('[project]\nname = "shop"\n')
    (folder / "times.py").write_text(TIMES)
    yield from running_node(folder, FLOWS, WORK.replace("FOLDER", str(folder)))


def test_deployed_flows_start_by_themselves(here: Environment) -> None:
    ended = here.on("deploy")
    assert ended.code == 0, ended.err
    begun = time.monotonic()
    notes = here.folder / "notes.txt"

    def count(text: str) -> int:
        return notes.read_text().count(text) if notes.exists() else 0

    wait_until(lambda: count("often") >= 2 and count("odd") >= 1 and count("next") >= 1)
    assert time.monotonic() - begun < 15
    listed = here.on("trigger", "list", "--json").checked("answers")
    assert [one["trigger"] for one in listed["triggers"]] == ["next.behind", "odd.own", "often.each_second"]
    paused = here.on("trigger", "pause", "often", "--note", "enough", "--by", "ada", "--json").checked("answers")
    assert paused == {"trigger": "often.each_second", "paused": True, "remark": ""}
    before = count("often")
    time.sleep(1.6)
    assert count("often") - before <= 1  # what had begun
    shown = here.on("trigger", "show", "often", "--json").checked("answers")
    assert (shown["paused"], shown["paused_by"], shown["note"]) == (True, "ada", "enough")
    assert shown["started"] == len(shown["runs"]) or shown["started"] >= 10
    assert {run["state"] for run in shown["runs"]} == {"success"}
    assert here.on("trigger", "resume", "often").code == 0
    wait_until(lambda: count("often") > before + 1)


def test_what_is_not_there_is_refused(here: Environment) -> None:
    ended = here.on("trigger", "show", "nothing.here")
    assert (ended.code, "no trigger `nothing.here` is deployed" in ended.err) == (2, True)
    ended = here.on("trigger", "pause", "nothing")
    assert (ended.code, "no trigger of a flow `nothing` is deployed" in ended.err) == (2, True)
