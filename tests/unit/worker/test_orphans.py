"""An executor whose agent has died ends, whichever it learns first, and runs nothing again."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from flowrun.worker.frames import ExecutorKind, FrameBuffer, FromExecutor, Ready, Setup, pack_frame
from flowrun.worker.spawn import Spawned, spawn


@pytest.mark.parametrize("kind", ["process", "thread", "async"])
def test_the_end_of_the_tokens(kind: ExecutorKind, tmp_path: Path) -> None:
    """The pipe ends some moments before the socket does and the kernel's signal comes."""
    spawned = spawn()
    try:
        spawned.sock.setblocking(True)
        spawned.sock.settimeout(10)
        spawned.sock.sendall(pack_frame(Setup(str(tmp_path), (), kind, 4)))
        assert isinstance(_frame(spawned), Ready)
        os.close(spawned.tokens[1])
        assert spawned.process.wait(5) == 0
    finally:
        _clean_up(spawned)


def _frame(spawned: Spawned) -> FromExecutor:
    buffer = FrameBuffer()
    while True:
        data = spawned.sock.recv(65536)
        assert data, "the executor ended before it was ready"
        for frame in buffer.feed(data):
            return msgspec.msgpack.decode(frame, type=FromExecutor)  # type: ignore[no-any-return]


def _clean_up(spawned: Spawned) -> None:
    spawned.process.kill()
    spawned.process.wait()
    for pipe in (spawned.process.stdout, spawned.process.stderr):
        assert pipe is not None
        pipe.close()
    spawned.sock.close()
    os.close(spawned.tokens[0])
    os.close(spawned.memory)
