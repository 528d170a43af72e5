"""The image of a run as that of a run under another plan: the ends of the steps that are the same work.

Every other step of the new plan has not ended, and so runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from flowc.compare import Comparison
from flowc.plan import Plan

from .image import Image
from .state import SUCCESS, WAITING

__all__ = ["translate"]

T = TypeVar("T")


def translate(image: Image, compared: Comparison, digest: str, plan: Plan) -> Image:
    """`digest` is that of the new plan."""
    nodes, size = compared.nodes, len(plan.blocks[0].nodes)
    states = bytearray((WAITING,)) * size
    values: list[bytes | None] = [None] * size
    seconds = None if image.seconds is None else bytearray(b"\x00\x00\xc0\x7f" * size)
    states[: plan.blocks[0].params] = bytes((SUCCESS,)) * plan.blocks[0].params
    for node, before in nodes.items():
        states[node], values[node] = image.states[before], image.values[before]
        if seconds is not None and image.seconds is not None:
            seconds[4 * node : 4 * node + 4] = image.seconds[4 * before : 4 * before + 4]
    back = {before: node for node, before in nodes.items()}
    return Image(
        image.format,
        image.run,
        image.flow,
        digest,
        image.state,
        image.ended_ms,
        bytes(states),
        values,
        _moved(image.arms, back),
        _moved(image.errors, back),
        _moved(image.attempts, back),
        None if seconds is None else bytes(seconds),
        _moved(image.fans, back),
        {back[join]: [back[i] for i in members if i in back] for join, members in image.joined.items() if join in back},
        _moved(image.rows, back),
        forked=True,
        added=_moved(image.added, back),
    )


def _moved(table: Mapping[int, T], back: Mapping[int, int]) -> dict[int, T]:
    """A table by node, for the nodes that are still there."""
    return {back[node]: entry for node, entry in table.items() if node in back}
