"""Random canvases give on a node what they give when they are called here and now."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import msgspec
from flowrun.memory import run_virtual
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.node import Node, memory_server
from tests.unit.canvas.random_canvases import canvas


async def ran(seed: int) -> tuple[str, Any]:
    async with Node(memory_server(), root=Path()) as node:
        run = await node.client.submit(canvas(random.Random(seed)))
        record = await asyncio.wait_for(node.client.wait(run), 60)
        if record.state != "success":
            assert record.error is not None
            return record.state, record.error.type
        return record.state, msgspec.msgpack.decode(record.result)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_random_canvas_gives_what_it_gives_here(seed: int) -> None:
    here = canvas(random.Random(seed)).apply()
    state, found = run_virtual(ran(seed))
    assert state == ("success" if here.successful() else "failed")
    if here.successful():
        assert found == here.get()
