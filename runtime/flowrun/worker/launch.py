"""Starts a worker process. Imports little, and needs no configuration yet: `flowc run` starts a worker first of all."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["BAD_CONFIG", "STORE_FAILED", "launch_worker"]

#: exit code of a worker whose results the server does not take (its disk is full): another one would fare no better
STORE_FAILED = 3
#: … that could not read its configuration
BAD_CONFIG = 78


def launch_worker() -> subprocess.Popen[bytes]:
    """A worker that waits for its configuration, one line on its standard input, and ends when that is closed."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "flowrun.worker"],
        stdin=subprocess.PIPE,
        process_group=0,  # Ctrl-C reaches the foreground group, and must not hit a worker that has just begun
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
