"""What the workers of a group say they have: summed, shared among partitions, forgotten when they are silent."""

from __future__ import annotations

from typing import Any

from flowrun.capacity import Capacity
from flowrun.messages import Presence
from flowrun.settings import Settings


def presence(node: str, **changes: Any) -> Presence:
    given: dict[str, Any] = {"node": node, "group": "nodes", "host": "h", "pid": 1, "started_ms": 1}
    return Presence(**{**given, **changes})


def test_slots_are_summed_and_shared() -> None:
    capacity = Capacity("nodes", Settings(window_per_slot=2), partitions=4)
    assert (capacity.slots("default"), capacity.window("default")) == (1, 2)
    capacity.saw(presence("a", capacity={"default": 16, "media": 2}), 0.0)
    capacity.saw(presence("b", capacity={"default": 8}), 0.0)
    capacity.saw(presence("c", capacity={"default": 99}, group="other"), 0.0)
    assert (capacity.slots("default"), capacity.window("default")) == (6, 12)
    assert (capacity.slots("media"), capacity.window("media")) == (1, 2)
    capacity.saw(presence("a", capacity={"default": 16}, stopping=True), 0.5)
    assert capacity.slots("default") == 2


def test_the_silent_are_forgotten() -> None:
    capacity = Capacity("nodes", Settings(presence=1.0))
    capacity.saw(presence("a", capacity={"default": 4}), 0.0)
    capacity.saw(presence("b", capacity={"default": 4}), 2.0)
    capacity.forget_silent(3.0)
    assert capacity.slots("default") == 8
    capacity.forget_silent(3.1)
    assert capacity.slots("default") == 4


def test_a_fixed_one_listens_to_nobody() -> None:
    capacity = Capacity("local", Settings(), fixed=3)
    capacity.saw(presence("a", group="local", capacity={"default": 50}), 0.0)
    assert (capacity.slots("default"), capacity.slots("any"), capacity.window("any")) == (3, 3, 6)
