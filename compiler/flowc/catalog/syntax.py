"""Findings: text that does not parse."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_OK = 'task ping { run: shell("true") }\n\n'

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0101",
        name="unexpected-token",
        message="{found} is not expected {where}",
        help="{hint}",
        explanation="The text is not a sentence of the language at this place. The reference shows each construct with "
        "an example.",
        bad=_OK + "flow main { x = ping() ping() }\n",
        good=_OK + "flow main {\n  x = ping()\n  ping()\n}\n",
    ),
)
