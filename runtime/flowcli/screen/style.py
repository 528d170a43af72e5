"""How states and times are shown, by both views."""

from __future__ import annotations

from flowrun.messages import StepState

__all__ = ["COLOURS", "ICONS", "seconds_text"]

ICONS: dict[StepState, str] = {
    "waiting": "·",
    "ready": "○",
    "running": "●",
    "retrying": "↻",
    "success": "✓",
    "failed": "✗",
    "skipped": "–",
    "upstream_failed": "⊘",
    "cancelled": "■",
    "expired": "⌛",
}
COLOURS: dict[StepState, str] = {
    "waiting": "dim",
    "ready": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "success": "green",
    "failed": "red",
    "skipped": "dim",
    "upstream_failed": "magenta",
    "cancelled": "yellow",
    "expired": "red",
}


def seconds_text(seconds: float) -> str:
    """`0.14 s`, `12.3 s`, `3 m 05 s`, `2 h 03 m`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"
