"""What is run: roots, and the choice among flows."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowcli.errors import InputError
from flowcli.targets import Candidate, choose, find_root, scan_queues


def flows(**calls: str) -> list[Candidate]:
    return [Candidate(name, f"{name}.flow", called.split()) for name, called in calls.items()]


@pytest.mark.parametrize(
    ("candidates", "flow", "main", "chosen"),
    [
        (flows(a=""), None, None, "a"),
        (flows(a="b", b=""), None, None, "a"),
        (flows(a="a b", b="b"), None, None, "a"),
        (flows(a="", b=""), "b", "a", "b"),
        (flows(a="", b=""), None, "b", "b"),
        (flows(a="b", b=""), "b.flow:b", None, "b"),
    ],
)
def test_the_flow_that_is_named_or_called_by_no_other(
    candidates: list[Candidate], flow: str | None, main: str | None, chosen: str
) -> None:
    assert choose(candidates, flow, main, Path("x")).flow == chosen


@pytest.mark.parametrize(
    ("candidates", "flow", "phrase"),
    [
        ([], None, "no flow to run"),
        (flows(a="", b=""), None, "several flows"),
        (flows(nightly=""), "nightli", "no flow `nightli`"),
        ([Candidate("a", "x.flow", ()), Candidate("a", "y.flow", ())], "a", "several files"),
    ],
)
def test_a_choice_that_cannot_be_made(candidates: list[Candidate], flow: str | None, phrase: str) -> None:
    with pytest.raises(InputError, match=phrase) as caught:
        choose(candidates, flow, None, Path("x"))
    assert caught.value.help


def test_the_root_is_the_nearest_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "project" / "flows"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert find_root(None) == inner
    assert find_root(Path("../x.flow")).resolve() == tmp_path / "project"
    (tmp_path / "project" / "flow.toml").touch()
    assert find_root(None) == find_root(Path("x.flow")) == tmp_path / "project"
    assert find_root(tmp_path / "other/.flow/build/x.flowplan") == tmp_path / "other"


def test_queues_are_guessed_from_the_text(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").touch()
    (tmp_path / "a.flow").write_text("queue media { priority: 3 }\n  queue gpu {}\n# queue not\n")
    (tmp_path / "binary.flow").write_bytes(b"\xff\x00queue x")
    assert scan_queues(None, tmp_path) == {"default", "media", "gpu"}
    assert scan_queues(tmp_path / "gone.flow", tmp_path) == {"default", "media", "gpu"}
