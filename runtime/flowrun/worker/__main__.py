"""A worker process: `python -m flowrun.worker CONFIG`, CONFIG being a WorkerConfig as JSON.

It ends when its standard input does, that is, with the process that started it, or on SIGTERM; both hand back what
runs. SIGINT is left to its parent: Ctrl-C reaches every process of a terminal's foreground group.
"""

from __future__ import annotations

import signal
import sys

from .spawn import spawn

__all__ = ["main"]


def main() -> int:
    """Exit codes: 0 it was told to end, 1 it cannot go on (the reason is on standard error)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = sys.argv[1]
    first = spawn(config)  # it starts while this process imports the rest
    from .service import serve

    return serve(config, first)


if __name__ == "__main__":
    sys.exit(main())
