"""A process of a node is started again when it dies, and not when it was told to end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

from flowrun.node.child import Child


def _launcher(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


async def test_it_gets_its_configuration_and_ends_for_good_with_a_final_code() -> None:
    code = "import sys; sys.exit(int(sys.stdin.readline()))"
    child = Child("worker", lambda: _launcher(code), b"78", frozenset({78}))
    assert await child.run() == 78
    assert child.restarts == 0


async def test_it_is_started_again_after_a_crash(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = (
        "import os, sys, pathlib\n"
        f"marks = pathlib.Path({str(marks)!r})\n"
        "with marks.open('a') as f: f.write('x')\n"
        "if len(marks.read_text()) < 3: os.kill(os.getpid(), 9)\n"
    )
    child = Child("worker", lambda: _launcher(code), b"", frozenset({0}))
    assert await child.run() == 0
    assert (marks.read_text(), child.restarts) == ("xxx", 2)


async def test_what_was_told_to_end_is_not_started_again() -> None:
    child = Child("leader", lambda: _launcher("import time; time.sleep(60)"), b"", frozenset({0}))
    running = asyncio.create_task(child.run())
    while child.pid is None:
        await asyncio.sleep(0.01)
    child.tell(signal.SIGTERM)
    assert await running == -signal.SIGTERM
    assert child.restarts == 0
