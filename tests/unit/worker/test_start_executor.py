"""An executor process is ready soon: it imports only what running a task needs."""

from __future__ import annotations

import json
import subprocess
import sys


def test_what_is_not_needed_is_not_imported() -> None:
    """The modules that were found to take their time, by `python -X importtime`."""
    code = (
        "import sys; from flowrun.worker.start_executor import _import_msgspec; _import_msgspec();"
        "import flowrun.worker.executor, json; print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "msgspec" in imported
    slow = {"asyncio", "socket", "hashlib", "typing_extensions", "inspect", "subprocess", "nats", "pydantic", "sqlite3"}
    assert not imported & slow


def test_tasks_can_import_them() -> None:
    code = (
        "from flowrun.worker.start_executor import _import_msgspec; _import_msgspec();"
        "import typing_extensions, msgspec; print(msgspec.json.decode(b'1', type=typing_extensions.Annotated[int, 1]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
