"""Commands whose outcome a seed decides."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

__all__ = ["run_seeded"]


def run_seeded(module: str, main: Callable[[], int]) -> None:
    """Runs `main` as `python -m module`, where the order of sets is the same each time; ends the process at once with
    its exit code."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])
    code = main()
    sys.stdout.flush()
    os._exit(code)
