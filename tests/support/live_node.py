"""A node as a user starts it, `flowc node`, for programs that block: `with LiveNode(folder) as node: node.url`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["FLOWC", "LiveNode"]

FLOWC = str(Path(sys.executable).with_name("flowc"))
_LISTENS = re.compile(r"listens on (\S+)")


class LiveNode:
    """`folder`: of the project, from which tasks are imported; the server keeps its store there."""

    def __init__(self, folder: Path, *args: str) -> None:
        self._folder, self._args = folder, args
        self.log = folder / "node.log"
        self.url = ""

    def __enter__(self) -> LiveNode:
        env = {name: value for name, value in os.environ.items() if name != "FLOW_NATS_URL"}
        with self.log.open("w") as output:
            self._process = subprocess.Popen(
                [FLOWC, "node", "--port", "0", *self._args], cwd=self._folder, stderr=output, stdout=output, env=env,
                process_group=0,
            )  # fmt: skip
        until = time.monotonic() + 60
        while (found := _LISTENS.search(self.log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > until:
                raise AssertionError(self.log.read_text())
            time.sleep(0.05)
        self.url = found[1]
        return self

    def kill(self) -> None:
        """Ends all of it at once, its server, too."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() == -signal.SIGKILL:
            return
        os.kill(self._process.pid, signal.SIGTERM)
        if self._process.wait(timeout=60) != 0:
            raise AssertionError(self.log.read_text())
