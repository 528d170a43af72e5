"""Findings: capacity."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = ()
