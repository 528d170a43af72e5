"""What an operator asks for: what is refused before anything is sent; the blocking face has the same names."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from flowrun import values
from flowrun.client import Client, Run, SyncClient, SyncRun
from flowrun.client.by_hand import mark_of
from flowrun.messages import Control
from flowrun.parameters import ArgumentError


def test_a_mark() -> None:
    assert mark_of("r", "x", "success", [1], "why", "ada") == Control(
        "mark", "r", "", "x", "success", values.encode([1]), "ada", "why"
    )
    assert mark_of("r", "x", "skipped", None, "", "").value == b""


@pytest.mark.parametrize(
    ("end", "value", "why"),
    [
        ("done", None, "a step is marked as one of success, skipped, failed, and `done` is none of them"),
        ("failed", 1, "only a step that is marked as `success` has a value, and this one is marked as `failed`"),
        ("success", object(), "the value of step `x`: `$`: a value of type object cannot be stored"),
        ("success", "x" * 40_000, "the value of step `x` has 40,003 bytes, and at most 32,768"),
    ],
)
def test_what_cannot_be_marked(end: Any, value: object, why: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        mark_of("r", "x", end, value, "", "")
    assert str(raised.value).startswith(why)


@pytest.mark.parametrize(("one", "other"), [(Client, SyncClient), (Run, SyncRun)])
@pytest.mark.parametrize("name", ["pause", "resume", "mark", "rerun"])
def test_the_blocking_face_has_the_same_names(one: type, other: type, name: str) -> None:
    here, there = (list(inspect.signature(getattr(kind, name)).parameters.values()) for kind in (one, other))
    named = {parameter.name for parameter in there}
    assert {parameter.name for parameter in here} <= named | {"plan", "whole", "note", "by", "options"}
    assert here[1].name == there[1].name
