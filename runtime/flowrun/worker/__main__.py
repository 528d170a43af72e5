"""A worker process: `python -m flowrun.worker`; the first line of its standard input is a WorkerConfig as JSON.

It ends when its standard input does, that is, with the process that started it, or on a signal (see `service`).
"""

from __future__ import annotations

import os
import signal
import sys

from .spawn import spawn

__all__ = ["main"]


def main() -> int:
    """Exit codes: 0 it was told to end, 1 it cannot go on, or one of `launch`; the reason is on standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until it has something to hand back
    first = spawn()  # it starts while this process imports the rest
    from .service import serve

    return serve(first)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # all is closed: taking the interpreter apart would only make the parent wait
