"""The leader process of a node: `python -m flowrun.node`; the first line of its standard input is a NodeConfig as JSON.

It ends when its standard input does, that is, with its supervisor, or on a signal. Exit codes: 0 it was told to end,
1 it cannot go on for now, BAD_CONFIG.
"""

from __future__ import annotations

import sys

from .leader import lead

if __name__ == "__main__":
    sys.exit(lead())
