"""How much memory a process and what it started hold."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["resident_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """In bytes; 0 if it is gone, or if the system does not tell (no /proc)."""
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_bytes().split()[1]) * _PAGE
            waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_bytes().split())
        except (OSError, IndexError):
            continue
    return total
