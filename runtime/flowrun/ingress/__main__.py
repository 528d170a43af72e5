"""See `server`. Exit codes: 0 it was told to end, 1 it cannot go on for now, BAD_CONFIG."""

from __future__ import annotations

import sys

from .server import serve

if __name__ == "__main__":
    sys.exit(serve())
