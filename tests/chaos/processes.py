"""Processes of this machine, by /proc: who is whose child, and who lives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

__all__ = ["children", "command_of", "living", "send"]


def living() -> dict[int, int]:
    """Processes that have not ended, with their parents. Takes some milliseconds."""
    found: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended in between
            if words[0] not in "ZX":
                found[int(folder.name)] = int(words[1])
    return found


def children(pid: int, parents: dict[int, int]) -> list[int]:
    return [child for child, parent in parents.items() if parent == pid]


def command_of(pid: int) -> list[str]:
    """The words of its command; none if it has ended."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def send(pid: int, number: signal.Signals) -> bool:
    """False: there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
