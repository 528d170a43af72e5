"""What is remembered of runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flowc.plan import Plan, write_file_bytes
from flowcli.errors import InputError
from flowcli.runs import Run, Runs

PLAN = Plan(flow="a", file="a.flow", params=(), returns=None, types=(), settings=(), tasks=(), blocks=(), version=1)


def run_of(name: str) -> Run:
    return Run(
        run=name, flow="a", plan="0" * 32, args={"x": "1"}, url=None, env="dev", partition=f"local-{name}",
        state="running", started_ms=1,
    )  # fmt: skip


def test_a_run_is_remembered_with_its_plan(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    run = run_of("260131-101500-aaaa")
    runs.add(run, write_file_bytes(PLAN))
    assert runs.load(run.run) == (run, PLAN)
    ended = msgspec.structs.replace(run, state="success", ended_ms=5)
    runs.save(ended)
    assert runs.load("last") == (ended, PLAN)


def test_an_unknown_run_is_told_with_what_there_is(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    with pytest.raises(InputError, match="there is no run `x`") as caught:
        runs.load("x")
    assert "no run was started here" in caught.value.help
    runs.add(run_of("260131-101500-aaaa"), write_file_bytes(PLAN))
    with pytest.raises(InputError) as caught:
        runs.load("260131-101500-aaab")
    assert "did you mean `260131-101500-aaaa`?" in caught.value.help


@pytest.mark.parametrize("damage", ["json", "plan"])
def test_a_damaged_run_is_told_with_its_place(tmp_path: Path, damage: str) -> None:
    runs = Runs(tmp_path)
    run = run_of("260131-101500-aaaa")
    runs.add(run, write_file_bytes(PLAN))
    path = tmp_path / ".flow/runs" / (run.run + (".json" if damage == "json" else ".flowplan"))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError) as caught:
        runs.load(run.run)
    assert caught.value.place == str(path)
