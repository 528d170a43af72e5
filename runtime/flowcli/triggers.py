"""What `flowc trigger` does."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

import msgspec
from flowrun.client import Client
from flowrun.ingress.refusals import Refused
from flowrun.messages import TriggerRun, TriggerState

from .errors import EXIT_OK, InputError
from .looking import print_table, say_silent
from .output import say
from .remote import with_client
from .screen.levels import clock_text
from .screen.style import seconds_text
from .server import server_of
from .targets import find_root

__all__ = ["Trigger", "TriggerPaused", "Triggers", "list_triggers", "pause_or_resume", "show_trigger"]


class StartedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that a trigger started, the last one of its window; or a time that was missed."""

    #: null: none was started
    run: str | None
    at: dt.datetime
    state: str
    #: of how many in its window; null: it stands for none
    number: int | None


class RefusedThing(msgspec.Struct, frozen=True, kw_only=True):
    """What came for a trigger and did not fit."""

    at: dt.datetime
    #: its subject, or its path
    what: str
    reason: str


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc trigger show`: how a trigger stands."""

    trigger: str
    project: str
    flow: str
    source: str
    plan: str
    #: when it was deployed first
    since: dt.datetime
    #: when it ticks next; null: that is not known, or it waits for no time
    next: dt.datetime | None
    #: the last time that started a run, or was missed
    last: dt.datetime | None
    paused: bool
    paused_by: str
    note: str
    #: runs that were started, times that were missed, what came and did not fit
    started: int
    missed: int
    refused: int
    #: runs that wait for the success of an earlier window
    waiting: int
    #: why it starts nothing although it is not paused; "": all is well
    trouble: str
    #: the newest first; only of one that is asked for by its name, and so are those below
    runs: tuple[StartedRun, ...] = ()
    refusals: tuple[RefusedThing, ...] = ()


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc trigger list`."""

    triggers: tuple[Trigger, ...]
    #: partitions of which nothing is known
    silent: tuple[str, ...]


class TriggerPaused(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc trigger pause` and `flowc trigger resume`."""

    trigger: str
    paused: bool
    #: what is worth knowing
    remark: str


# ---- commands -------------------------------------------------------------------------------------------------------


def list_triggers(flow: str, limit: int, url: str | None, env: str | None, as_json: bool) -> int:
    async def work(client: Client) -> int:
        found = await client.triggers(flow, limit)
        if as_json:
            say(msgspec.json.encode(Triggers(triggers=tuple(map(trigger_of, found)), silent=found.silent)))
            return EXIT_OK
        if found.triggers:
            now_ms = time.time() * 1000
            print_table(("TRIGGER", "SOURCE", "NEXT", "LAST", "MISSED", "STATE"), (_row(one, now_ms) for one in found))
        elif not found.silent:
            say("no trigger is deployed" + (f" of flow {flow}" if flow else ""))
        say_silent(found.silent)
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def show_trigger(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    async def work(client: Client) -> int:
        found = await client.trigger(await _named(client, name))
        refused = await client.refused_by(found.trigger)
        if as_json:
            say(msgspec.json.encode(trigger_of(found, refused)))
        else:
            for line in _lines(found, refused):
                say(line)
            if found.runs:
                print_table(("TIME", "STATE", "RUN", "OF ITS WINDOW"), map(_run_row, found.runs))
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def pause_or_resume(
    name: str, paused: bool, note: str, by: str, url: str | None, env: str | None, as_json: bool
) -> int:
    async def work(client: Client) -> int:
        trigger = await _named(client, name)
        remark = await (client.pause_trigger if paused else client.resume_trigger)(trigger, note=note, by=by)
        if as_json:
            say(msgspec.json.encode(TriggerPaused(trigger=trigger, paused=paused, remark=remark)))
        else:
            told = "is paused: it starts nothing" if paused else "goes on"
            say(f"trigger {trigger} {told}" + (f" ({remark})" if remark else ""))
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


async def _named(client: Client, name: str) -> str:
    """The trigger of this name, or the only one of the flow of this name. Raises InputError."""
    if "." in name:
        return name
    found = [one.trigger for one in await client.triggers(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(f"no trigger of a flow `{name}` is deployed", help="`flowc trigger list` shows what is")
    raise InputError(f"flow `{name}` has {len(found)} triggers", help=f"name one of them: {', '.join(found)}")


# ---- what is told ---------------------------------------------------------------------------------------------------


_NOTHING = Refused()


def _moment(time_ms: int | None) -> dt.datetime | None:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC) if time_ms else None


def _trouble(found: TriggerState, refused: Refused) -> str:
    return "; ".join(filter(None, [found.trouble, *refused.problems.values()]))


def trigger_of(found: TriggerState, refused: Refused = _NOTHING) -> Trigger:
    """As `--json` prints it."""
    since = _moment(found.since_ms)
    assert since is not None
    return Trigger(
        trigger=found.trigger, project=found.project, flow=found.flow, source=found.source, plan=found.plan,
        since=since, next=_moment(found.next_ms), last=_moment(found.last_ms), paused=found.paused is not None,
        paused_by=found.paused.by if found.paused else "", note=found.paused.note if found.paused else "",
        started=found.started, missed=found.missed, refused=found.refused + refused.count, waiting=found.waiting,
        trouble=_trouble(found, refused),
        runs=tuple(
            StartedRun(run=run.run or None, at=_moment(run.at_ms) or since, state=run.state, number=run.number or None)
            for run in found.runs
        ),
        refusals=tuple(
            RefusedThing(at=_moment(one.at_ms) or since, what=one.what, reason=one.reason) for one in refused.last
        ),
    )  # fmt: skip


def _row(one: TriggerState, now_ms: float) -> tuple[str, ...]:
    if one.paused is not None:
        state = f"paused by {one.paused.by}" if one.paused.by else "paused"
    else:
        state = f"{one.waiting} wait for their past" if one.waiting else one.trouble and "trouble"
    after = "" if one.next_ms is None else f"in {seconds_text(max(one.next_ms - now_ms, 0) / 1000)}"
    last = clock_text(one.last_ms) if one.last_ms else ""
    return one.trigger, one.source, after, last, str(one.missed or ""), state


def _lines(one: TriggerState, refused: Refused) -> Iterator[str]:
    yield f"{one.trigger}: {one.source}, of project {one.project}, deployed since {clock_text(one.since_ms)}"
    if one.paused is not None:
        why = f": {one.paused.note}" if one.paused.note else ""
        yield f"  paused since {clock_text(one.paused.at_ms)} by {one.paused.by or 'somebody'}{why}"
    elif one.next_ms is not None:
        yield f"  next: {clock_text(one.next_ms)}"
    yield f"  started {one.started}, missed {one.missed}, refused {one.refused + refused.count}"
    if one.waiting:
        yield f"  {one.waiting} runs wait for the success of an earlier window"
    if trouble := _trouble(one, refused):
        yield f"  trouble: {trouble}"
    for refusal in refused.last[-3:]:
        yield f"  refused at {clock_text(refusal.at_ms)}: {refusal.what}: {refusal.reason}"


def _run_row(run: TriggerRun) -> tuple[str, ...]:
    return clock_text(run.at_ms), run.state, run.run, f"{run.number}." if run.number > 1 else ""
