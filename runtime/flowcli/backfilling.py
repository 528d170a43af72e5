"""What `flowc backfill` does: asks for the windows, and shows how far they are."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

import msgspec
from flowc.plan import Plan
from flowrun.client import Client
from flowrun.client.backfills import BackfillRun, Only, PlannedWindow
from flowrun.messages import BackfillState

from .arguments import argument_texts, changed_values
from .errors import EXIT_FAILED, EXIT_OK, InputError
from .looking import ago, print_table
from .output import say
from .remote import with_client
from .screen.style import seconds_text
from .server import server_of
from .targets import find_root

__all__ = ["Asked", "BackfillPlan", "BackfillReport", "Backfilled", "attach", "backfill", "show_all", "stop"]

#: windows that are listed one by one, in a terminal
_SHOWN = 20


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    target: str | None
    first: str | None
    last: str | None
    reverse: bool
    only: str
    concurrency: int
    #: "name=value" each
    params: tuple[str, ...]
    dry_run: bool
    detach: bool
    by: str
    as_json: bool
    url: str | None
    env: str | None


# ---- answers --------------------------------------------------------------------------------------------------------


class BackfillReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a backfill stands."""

    name: str
    trigger: str
    #: blocked: what is left cannot be started; `why` says it
    state: Literal["running", "success", "failed", "stopped", "blocked"]
    #: windows: all; those that succeeded in it, had succeeded before, failed in it, run now, wait, and are left out by
    #: `--only`
    total: int
    done: int
    kept: int
    failed: int
    running: int
    left: int
    spared: int
    began: dt.datetime
    ended: dt.datetime | None
    concurrency: int
    by: str
    why: str | None
    #: where windows begin that failed: the first hundred
    failures: tuple[dt.datetime, ...]


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc backfill --list`."""

    backfills: tuple[BackfillReport, ...]


class PlannedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A window that a backfill would look at."""

    date: str
    start: dt.datetime
    end: dt.datetime
    #: left: it would be run; kept: it has succeeded; elsewhere: it runs; spared: `--only failed` leaves it out
    state: Literal["left", "kept", "elsewhere", "spared"]


class BackfillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc backfill --dry-run`."""

    windows: tuple[PlannedRun, ...]


def report_of(state: BackfillState, tz: str = "") -> BackfillReport:
    """The same with times of the trigger's zone."""
    return BackfillReport(
        name=state.name, trigger=state.trigger, state=state.state, total=state.total, done=state.done, kept=state.kept,
        failed=state.failed, running=state.running, left=state.left, spared=state.spared,
        began=_moment(state.began_ms, ""), ended=_moment(state.ended_ms, "") if state.ended_ms else None,
        concurrency=state.concurrency, by=state.by, why=state.why or None,
        failures=tuple(_moment(start, tz) for start in state.failures),
    )  # fmt: skip


def _moment(ms: int, tz: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).astimezone(ZoneInfo(tz) if tz else dt.UTC)


# ---- commands -------------------------------------------------------------------------------------------------------


def backfill(asked: Asked) -> int:
    """Gives the exit code. Raises InputError, FlowError."""
    target, first, last = _range(asked)
    texts = argument_texts(asked.params)

    def values(plan: Plan) -> Mapping[str, object]:
        return changed_values(plan, texts)

    async def work(client: Client) -> int:
        if asked.dry_run:
            only = cast(Only, asked.only)
            return _show_plan(
                await client.preview_backfill(target, first, last, reverse=asked.reverse, only=only), asked
            )
        run = await client.backfill(
            target, first, last, values if texts else None, reverse=asked.reverse, only=cast(Only, asked.only),
            concurrency=asked.concurrency, by=asked.by,
        )  # fmt: skip
        if run.outside and not asked.as_json:
            say(f"{run.outside:,} windows are left out: they lie before the trigger's `start` or after its `end`")
        if asked.detach:
            return await _show_begun(run, asked)
        return await _follow(run, asked)

    return with_client(_server(asked), work)


def attach(asked: Asked, name: str) -> int:
    async def work(client: Client) -> int:
        return await _follow(await client.find_backfill(name), asked)

    return with_client(_server(asked), work)


def stop(asked: Asked, name: str) -> int:
    async def work(client: Client) -> int:
        run = await client.find_backfill(name)
        state = await run.stop()
        if asked.as_json:
            say(msgspec.json.encode(report_of(state, run.tz)))
        elif state.state == "running":
            say(f"backfill {name} starts nothing more; {state.running} runs go on to their end")
        else:
            say(f"backfill {name} had ended ({state.state})")
        return EXIT_OK

    return with_client(_server(asked), work)


def show_all(asked: Asked) -> int:
    async def work(client: Client) -> int:
        found = await client.backfills()
        if asked.as_json:
            say(msgspec.json.encode(Backfilled(backfills=tuple(map(report_of, found)))))
        elif found:
            columns = ("BACKFILL", "TRIGGER", "STATE", "DONE", "KEPT", "FAILED", "RUNNING", "LEFT", "BEGAN", "BY")
            print_table(columns, map(_row, found))
        else:
            say("there are no backfills")
        return EXIT_OK

    return with_client(_server(asked), work)


def _range(asked: Asked) -> tuple[str, str, str]:
    if asked.target is None:
        help = "as in `flowc backfill flights_day --from 2013-01-01 --to 2013-12-31`"
        raise InputError("which flow is to be run for its past?", help=help)
    if asked.first is None or asked.last is None:
        missing = "--from" if asked.first is None else "--to"
        raise InputError(f"`{missing}` is missing: between which days?", help="both days are included")
    return asked.target, asked.first, asked.last


def _server(asked: Asked) -> Any:
    return server_of(asked.url, asked.env, find_root(None))


# ---- what is shown --------------------------------------------------------------------------------------------------


async def _follow(run: BackfillRun, asked: Asked) -> int:
    """Shows it until it ends."""
    is_screen = not asked.as_json and sys.stdout.isatty()
    if not is_screen and not asked.as_json:
        say(f"backfill {run.name} of {run.trigger}; `flowc backfill --stop {run.name}` stops it")
    try:
        state = await (_shown(run) if is_screen else run.wait())
    except asyncio.CancelledError:
        say(
            f"the backfill goes on: `flowc backfill --attach {run.name}` shows it, `flowc backfill --stop {run.name}` "
            "stops it",
            err=True,
        )
        raise
    if asked.as_json:
        say(msgspec.json.encode(report_of(state, run.tz)))
    else:
        _show_end(state, run)
    return EXIT_OK if state.state == "success" else EXIT_FAILED


async def _shown(run: BackfillRun) -> BackfillState:
    """A bar on a terminal."""
    from rich.console import Console  # who prints JSON needs none of it
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]{task.fields[trigger]}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console()) as progress:
        task = progress.add_task("", total=None, trigger=run.trigger, told="")
        async for state in run.states():
            wanted = state.total - state.spared - state.kept
            told = f"{state.running} run" + (f", [red]{state.failed} failed[/]" if state.failed else "")
            progress.update(task, total=wanted, completed=state.done + state.failed, told=told)
            if state.state != "running":
                return state
    raise AssertionError("it has not ended")


def _show_end(state: BackfillState, run: BackfillRun) -> None:
    took = seconds_text((state.ended_ms - state.began_ms) / 1000)
    parts = [f"{state.done:,} succeeded"]
    parts += [f"{count:,} {what}" for count, what in (
        (state.kept, "had succeeded before"), (state.failed, "failed"), (state.left, "never began"),
        (state.spared, "are left out: they never ran"),
    ) if count]  # fmt: skip
    say(f"backfill {run.name}: {state.state} after {took}; of {state.total:,} windows {', '.join(parts)}")
    if state.why:
        say(f"what is left was not run: {state.why}")
    for start in state.failures[:_SHOWN]:
        say(f"  failed: the window from {_moment(start, run.tz):%Y-%m-%d %H:%M}")
    if state.failed > _SHOWN:
        say(f"  and {state.failed - _SHOWN:,} more")
    if state.failed:
        say("the same command with --only failed runs these again")


async def _show_begun(run: BackfillRun, asked: Asked) -> int:
    state = await run.state()
    if asked.as_json:
        if state is None:
            raise InputError("nobody tells of the backfill just now", help="`flowc backfill --list` shows it later")
        say(msgspec.json.encode(report_of(state, run.tz)))
    else:
        say(
            f"backfill {run.name} of {run.trigger} is begun; `flowc backfill --attach {run.name}` shows it, "
            f"`flowc backfill --stop {run.name}` stops it"
        )
    return EXIT_OK


def _show_plan(found: list[PlannedWindow], asked: Asked) -> int:
    if asked.as_json:
        windows = tuple(
            PlannedRun(
                date=one.scheduled.date, start=_moment(one.scheduled.start_ms, ""),
                end=_moment(one.scheduled.end_ms, ""), state=cast(Any, one.state),
            )
            for one in found
        )  # fmt: skip
        say(msgspec.json.encode(BackfillPlan(windows=windows)))
        return EXIT_OK
    counts = Counter(one.state for one in found)
    told = {
        "left": "would be run", "kept": "have succeeded", "elsewhere": "run just now",
        "spared": "never ran, and --only failed leaves them out",
    }  # fmt: skip
    say(f"{len(found):,} windows: " + ", ".join(f"{counts[name]:,} {told[name]}" for name in told if counts[name]))
    wanted = [one for one in found if one.state == "left"]
    for one in wanted[:_SHOWN]:
        say(f"  {one.scheduled.date}  {_moment(one.scheduled.start_ms, ''):%Y-%m-%d %H:%M}Z to "
            f"{_moment(one.scheduled.end_ms, ''):%Y-%m-%d %H:%M}Z")  # fmt: skip
    if len(wanted) > _SHOWN:
        say(f"  and {len(wanted) - _SHOWN:,} more, the last one of {wanted[-1].scheduled.date}")
    return EXIT_OK


def _row(state: BackfillState) -> tuple[str, ...]:
    counts = (state.done, state.kept, state.failed, state.running, state.left)
    return (
        state.name, state.trigger, state.state, *(str(count) for count in counts), ago(state.began_ms / 1000), state.by,
    )  # fmt: skip
