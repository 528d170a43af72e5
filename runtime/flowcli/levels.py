"""Service levels of a run as data, for what the commands print with `--json`."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec
from flowrun.messages import SlaMark

__all__ = ["Level", "levels_of"]


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """A service level of a run, or of a step of it."""

    #: or null: the run's own
    step: str | None
    what: Literal["start", "finish"]
    name: str | None
    due: dt.datetime
    #: when a warning came, and when it was missed, or null
    warned: dt.datetime | None
    missed: dt.datetime | None
    #: when what was due came, in time or late, or null
    came: dt.datetime | None


def levels_of(marks: tuple[SlaMark, ...]) -> tuple[Level, ...]:
    return tuple(
        Level(
            step=mark.step or None, what=mark.what, name=mark.name or None, due=_time(mark.due_ms),
            warned=_maybe(mark.warned_ms), missed=_maybe(mark.missed_ms), came=_maybe(mark.done_ms),
        )
        for mark in marks
    )  # fmt: skip


def _maybe(time_ms: int) -> dt.datetime | None:
    return _time(time_ms) if time_ms else None


def _time(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
