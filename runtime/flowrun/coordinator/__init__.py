"""The shell around `engine`: leads one partition. See `coordinator` for its life, and beside it, each in a place of
its own: `takeover`, `events`, `fold` (the engine, its plans, its defects), `ends` (records of runs), `sends` (to other
partitions), `audit` (what the server may have lost)."""

from __future__ import annotations

from .coordinator import Coordinator

__all__ = ["Coordinator"]
