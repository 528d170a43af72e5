"""`flowc reject`: the other answer of `flowc approve`."""

from __future__ import annotations

from .approve import deciding

__all__ = ["command"]

command = deciding("reject", False, "Reject what a step of RUN waits for.")
