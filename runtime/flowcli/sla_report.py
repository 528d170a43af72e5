"""What `flowc sla` does: counts of service levels, and the last misses."""

from __future__ import annotations

import datetime as dt
import re
import time

import msgspec
from flowrun.client import Client
from flowrun.client.slas import SlaReport
from flowrun.messages import SlaCount, SlaMiss

from .answers import LevelCount, LevelMiss, Levels
from .errors import EXIT_OK, InputError
from .looking import print_table, say_silent
from .output import say
from .remote import with_client
from .screen.levels import clock_text
from .screen.style import seconds_text
from .server import server_of
from .targets import find_root

__all__ = ["levels_of", "show_levels", "since_ms"]

_AGE = re.compile(r"(\d{1,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_DEFAULT = "30d"


def show_levels(flow: str, since: str | None, misses: int, url: str | None, env: str | None, as_json: bool) -> int:
    first = since_ms(since or _DEFAULT, time.time() * 1000)

    async def work(client: Client) -> int:
        found = await client.service_levels(flow, first, misses)
        if as_json:
            say(msgspec.json.encode(levels_of(found)))
        else:
            _show(found, flow)
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def since_ms(text: str, now_ms: float) -> int:
    """A day or an age, as milliseconds since 1970. Raises InputError."""
    found = _AGE.fullmatch(text)
    if found:
        return max(int(now_ms) - int(found[1]) * _HOURS[found[2]] * 3_600_000, 0)
    try:
        day = dt.datetime.combine(dt.date.fromisoformat(text), dt.time(), dt.UTC)
    except ValueError:
        help = "write a day as 2026-01-31, or an age as 12h, 7d or 4w"
        raise InputError(f"`{text}` is no time", place="--since", help=help) from None
    return max(int(day.timestamp() * 1000), 0)


def _show(found: SlaReport, flow: str) -> None:
    if found.counts:
        columns = ("FLOW", "STEP", "LEVEL", "MET", "MISSED", "SHARE", "WARNED", "NEITHER")
        print_table(columns, map(_row, found.counts))
    elif not found.silent:
        say(f"no run{f' of flow {flow}' if flow else ''} had a service level in this time")
    if found.misses:
        say("\nthe last misses:")
        print_table(("RUN", "FLOW", "STEP", "LEVEL", "DUE", "CAME"), map(_miss_row, found.misses))
    say_silent(found.silent)


def _row(one: SlaCount) -> tuple[str, ...]:
    judged = one.met + one.missed
    share = f"{100 * one.met / judged:.1f} %" if judged else ""
    return (one.flow, one.step, _level(one.what, one.name), str(one.met), str(one.missed), share, str(one.warned),
            str(one.other))  # fmt: skip


def _miss_row(one: SlaMiss) -> tuple[str, ...]:
    came = f"{seconds_text((one.done_ms - one.due_ms) / 1000)} later" if one.done_ms else "not"
    return one.run, one.flow, one.step, _level(one.what, one.name), clock_text(one.due_ms), came


def _level(what: str, name: str) -> str:
    return f"{what} ({name})" if name else what


def levels_of(found: SlaReport) -> Levels:
    return Levels(
        levels=tuple(
            LevelCount(
                flow=one.flow, step=one.step or None, what=one.what, name=one.name or None, met=one.met,
                missed=one.missed, warned=one.warned, neither=one.other,
            )
            for one in found.counts
        ),
        misses=tuple(
            LevelMiss(
                flow=one.flow, run=one.run, step=one.step or None, what=one.what, name=one.name or None,
                due=_time(one.due_ms), missed=_time(one.missed_ms), came=_time(one.done_ms) if one.done_ms else None,
            )
            for one in found.misses
        ),
        silent=found.silent,
    )  # fmt: skip


def _time(time_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
