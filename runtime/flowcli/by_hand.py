"""What `pause`, `resume`, `mark` and `rerun` do: an operator takes a run in hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from flowc.plan import Plan
from flowrun.client import Client, Rerun
from flowrun.client.by_hand import StepEnd

from .answers import Marked, Paused, Rerunning
from .arguments import argument_texts, changed_values
from .errors import EXIT_OK, InputError
from .output import say
from .remote import place_of, with_client, with_place
from .saying import json_value
from .screen.view import Output
from .server import server_of
from .submitting import watched
from .targets import find_root, load_target

__all__ = ["Again", "mark", "pause", "rerun", "resume"]


def pause(run: str, flow: str, note: str, by: str, url: str | None, env: str | None, as_json: bool) -> int:
    return _pause_or_resume(run, flow, True, note, by, url, env, as_json)


def resume(run: str, flow: str, note: str, by: str, url: str | None, env: str | None, as_json: bool) -> int:
    return _pause_or_resume(run, flow, False, note, by, url, env, as_json)


def _pause_or_resume(
    run: str, flow: str, paused: bool, note: str, by: str, url: str | None, env: str | None, as_json: bool
) -> int:
    if bool(run) == bool(flow):
        raise InputError("name a run, or a flow with --flow: one of the two")

    async def of_flow(client: Client) -> int:
        await (client.pause_flow if paused else client.resume_flow)(flow, note=note, by=by)
        told = "is paused: its runs, and those to come, start nothing new" if paused else "goes on"
        _told(Paused(run=None, flow=flow, paused=paused), f"flow {flow} {told}", as_json)
        return EXIT_OK

    if flow:
        return with_client(server_of(url, env, find_root(None)), of_flow)
    run, place = place_of(run, url, env)

    async def of_run(client: Client) -> int:
        if paused:
            await client.pause(run, note=note, by=by)
            told = "is paused: what runs ends, and nothing new starts"
        else:
            remark = await client.resume(run, note=note, by=by)
            told = f"goes on ({remark})" if remark else "goes on"
        _told(Paused(run=run, flow=None, paused=paused), f"run {run} {told}", as_json)
        return EXIT_OK

    return with_place(place, of_run)


def mark(
    run: str, step: str, end: StepEnd, text: str | None, note: str, by: str, url: str | None, env: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    value, (run, place) = json_value(text), place_of(run, url, env)

    async def work(client: Client) -> int:
        await client.mark(run, step, end, value, note=note, by=by)
        _told(Marked(run=run, step=step, state=end), f"step {step} of run {run} is marked as {end}", as_json)
        return EXIT_OK

    return with_place(place, work)


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """A rerun, as it was asked for on the command line."""

    run: str
    steps: tuple[str, ...]
    #: "name=value" each
    params: tuple[str, ...]
    plan: Path | None
    whole: bool
    dry_run: bool
    note: str
    by: str
    wait: bool
    output: Output
    url: str | None
    env: str | None


def rerun(again: Again) -> int:
    """Gives the exit code. Raises InputError."""
    texts = argument_texts(again.params)
    run, place = place_of(again.run, again.url, again.env)

    async def work(client: Client) -> int:
        plan = None if again.plan is None else await _new_plan(client, run, again.plan)
        found = plan if plan is not None or not (texts or again.wait) else await client.plan_of(run)
        what: dict[str, Any] = {"plan": plan, "whole": again.whole}
        given = changed_values(found, texts) if found is not None else {}
        if again.dry_run:
            _show(await client.preview_rerun(run, again.steps, given, **what), None, again.output)
            return EXIT_OK
        id = client.new_id_beside(run)

        async def submit() -> Any:
            return await client.rerun(run, again.steps, given, **what, note=again.note, by=again.by, run=id)

        if again.wait:
            assert found is not None
            return await watched(client, found, submit, id, again.output)
        preview = await client.preview_rerun(run, again.steps, given, **what)
        await submit()
        _show(preview, id, again.output)
        return EXIT_OK

    return with_place(place, work)


async def _new_plan(client: Client, run: str, file: Path) -> Plan:
    """The plan in a file; of a source, that of the run's flow. Raises InputError, FindingsError, UnknownRun."""
    record = (await client.status(run)).record
    flow = record.flow if record is not None and file.suffix != ".flowplan" else None
    return load_target(file, flow, find_root(file)).plan


def _show(what: Rerun, run: str | None, output: Output) -> None:
    if output == "json":
        answer = Rerunning(
            run=run, of=what.of, flow=what.flow, kept=what.kept, runs=what.runs, items=what.items, changed=what.changed
        )
        say(msgspec.json.encode(answer))
        return
    if output == "quiet":
        say(run or "")
        return
    if run is not None:
        say(f"run {run}: {what.flow} again, after run {what.of}; `flowc ps {run}` shows it")
    say(f"  keeps: {_listed(what.kept)}")
    say(f"  runs:  {_listed(what.runs)}")
    for step in what.items:
        say(f"  runs:  the items of {step} that did not end well")
    for step, why in what.changed.items():
        say(f"  {step}: {why}")


def _listed(steps: Sequence[str]) -> str:
    return ", ".join(steps) or "nothing"


def _told(answer: msgspec.Struct, text: str, as_json: bool) -> None:
    say(msgspec.json.encode(answer) if as_json else text)
