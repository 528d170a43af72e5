"""What `flowc submit` does: from what was asked for to a run, and with `--wait` to its end."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from flowc.plan import Plan
from flowrun.client import Client, Run, RunEvents
from flowrun.messages import StateNote
from flowrun.run_ids import new_run_id

from .answers import Submitted
from .arguments import argument_texts, argument_values
from .errors import EXIT_FAILED, EXIT_OK, InputError
from .output import say
from .remote import with_client
from .screen.report import show_end
from .screen.view import Output, make_view
from .server import server_of
from .targets import find_root, load_target

__all__ = ["Submission", "submit", "watched"]

#: between two looks at the clock for the screen, in seconds
_TICK_SECONDS = 0.06


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    #: a file, or the name of a deployed flow
    file: Path | None
    flow: str | None
    #: "name=value" each
    params: tuple[str, ...]
    #: those of a submission, as they were typed
    options: dict[str, Any]
    wait: bool
    output: Output
    url: str | None
    env: str | None


def submit(submission: Submission) -> int:
    """Gives the exit code. Raises InputError."""
    file = submission.file
    name = _deployed_name(submission)
    if file is not None and not name and not file.exists():
        raise InputError("there is no such file", place=str(file))
    root = find_root(None if name else file)
    server = server_of(submission.url, submission.env, root)
    texts = argument_texts(submission.params)
    local = None if name else load_target(file, submission.flow, root).plan
    if local is not None:
        argument_values(local, texts)  # what is wrong with them is told without a server
    options = dict(submission.options)
    if "at" in options:
        options["at"] = _moment(options["at"])
    if "key" not in options:
        options["run"] = new_run_id()

    async def work(client: Client) -> int:
        plan = local or await client.deployed(name)
        given = argument_values(plan, texts)

        async def start() -> Run:
            return await client.submit(plan, given, **options)

        if submission.wait:
            return await watched(client, plan, start, options.get("run"), submission.output)
        run = await start()
        _show_submitted(run, plan, submission.output)
        return EXIT_OK

    return with_client(server, work)


def _deployed_name(submission: Submission) -> str:
    """The name of a deployed flow, where that is meant and no file; else ""."""
    file = submission.file
    if file is None or file.suffix in (".flow", ".flowplan") or len(file.parts) != 1 or file.exists():
        return ""
    if submission.flow is not None:
        raise InputError("there is no such file", place=str(file), help="--flow chooses a flow of a file")
    return file.name


def _moment(text: str) -> dt.datetime:
    """A time as somebody types it: that of this host, unless it has an offset."""
    try:
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        help = "write it like --at 2026-01-31T10:00, or 2026-01-31T10:00+01:00"
        raise InputError(f"`--at {text}` is no time", help=help) from error


def _show_submitted(run: Run, plan: Plan, output: Output) -> None:
    if output == "json":
        say(msgspec.json.encode(Submitted(run=run.id, flow=plan.flow)))
    elif output == "quiet":
        say(run.id)
    else:
        say(f"run {run.id}: {plan.flow} submitted; `flowc ps {run.id}` shows it")


async def watched(
    client: Client, plan: Plan, start: Callable[[], Awaitable[Run]], id: str | None, output: Output
) -> int:
    """Starts a run of a plan, and shows it until it ends; `id`: of the run, if it is known before."""
    view = make_view(output, plan)
    notes = client.events(id) if id is not None else None
    if notes is not None:
        await notes.open()  # nothing of the beginning is missed
    run = await start()
    view.start(run.id, False)

    async def show(notes: RunEvents) -> None:
        async for note in notes:
            if isinstance(note, StateNote):
                view.state(note, time.monotonic())
            else:
                view.log(note)

    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            view.tick(time.monotonic())

    ticks = asyncio.create_task(tick())
    try:
        await show(notes or client.events(run.id))
    except asyncio.CancelledError:
        view.message(f"the run goes on: `flowc ps {run.id}` shows it, `flowc cancel {run.id}` ends it")
        raise
    finally:
        ticks.cancel()
        view.stop()
    record = await run.wait()
    show_end(output, record, await client.value(record), plan)
    return EXIT_OK if record.state == "success" else EXIT_FAILED
