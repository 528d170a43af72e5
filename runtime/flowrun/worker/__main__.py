"""A worker process: `python -m flowrun.worker`, the variable FLOW_WORKER being a WorkerConfig as JSON.

It ends when its standard input does, that is, with the process that started it, or on SIGTERM; both hand back what
runs. SIGINT is left to its parent: Ctrl-C reaches every process of a terminal's foreground group.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from .spawn import spawn

__all__ = ["VARIABLE", "main"]

#: holds the worker's configuration; taken out of the environment before tasks see it
VARIABLE = "FLOW_WORKER"


def main() -> int:
    """Exit codes: 0 it was told to end, 1 it cannot go on (the reason is on standard error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = os.environ.pop(VARIABLE)
    known = json.loads(config)
    executor_config = json.dumps({"root": known["root"], "python": known["python"]})
    first = spawn(executor_config)  # it starts while this process imports the rest
    from .service import serve

    return serve(config, executor_config, first)


if __name__ == "__main__":
    sys.exit(main())
