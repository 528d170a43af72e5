"""An executor process is ready soon: it imports only what running a task needs."""

from __future__ import annotations

import json
import subprocess
import sys


def test_what_is_not_needed_is_not_imported() -> None:
    """The modules that were found to take their time, by `python -X importtime`."""
    code = "import flowrun.worker.executor, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "msgspec" in imported
    assert not imported & {"asyncio", "socket", "hashlib", "subprocess", "nats", "pydantic", "sqlite3"}
