"""What `ps`, `logs`, `cancel` and `nodes` do: one question to the nodes, one answer on the screen."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from flowrun.client import Client, RunStatus
from flowrun.messages import StateNote, StepNote
from rich.console import Console
from rich.table import Table

from .answers import Audited, Cancelled, ListedRun, Node, Runs, RunState, StepNow, log_line, nodes_of, runs_of, state_of
from .errors import EXIT_OK, InputError
from .output import say
from .remote import place_of, with_client, with_place
from .screen.levels import expected_text, level_text
from .screen.style import ICONS, seconds_text
from .screen.tree import shown_name
from .server import server_of
from .targets import find_root

__all__ = ["ago", "cancel_run", "print_table", "say_silent", "show_log", "show_nodes", "show_run", "show_runs"]

#: a coordinator tells at once how the steps of a run stand; so long is waited for it, in seconds
_PICTURE_SECONDS = 1.0
_NO_NODES = "no coordinator answers: start a node with `flowc node`, or see `flowc nodes`"


def show_runs(flow: str, limit: int, url: str | None, env: str | None, as_json: bool) -> int:
    async def work(client: Client) -> int:
        found = runs_of(await client.list(flow, limit))
        if as_json:
            say(msgspec.json.encode(found))
        else:
            _show_runs(found)
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def _show_runs(found: Runs) -> None:
    for pause in found.paused:
        who = f" by {pause.by}" if pause.by else ""
        why = f": {pause.note}" if pause.note else ""
        say(f"flow {pause.flow} is paused since {pause.since.astimezone():%Y-%m-%d %H:%M:%S}{who}{why}")
    if found.runs:
        rows = (
            (
                run.run,
                run.flow,
                ago(run.submitted.timestamp()),
                ("paused; " if run.paused else "") + _counts(run.steps),
                run.trigger,
                _expectation(run),
            )
            for run in found.runs
        )
        print_table(("RUN", "FLOW", "SUBMITTED", "STEPS", "TRIGGER", "EXPECTED TO END"), rows)
    elif not found.silent:
        say("nothing runs")
    if found.total > len(found.runs):
        say(f"… and {found.total - len(found.runs)} more (--limit)")
    say_silent(found.silent)


def _expectation(run: ListedRun) -> str:
    """When it is expected to end, and which of its levels it has missed."""
    missed = [level.step or "run" for level in run.levels if level.missed is not None]
    parts = [] if run.expected is None else [expected_text(int(run.expected.timestamp() * 1000), time.time() * 1000)]
    parts += [f"missed its level: {', '.join(dict.fromkeys(missed))}"] if missed else []
    return "; ".join(parts)


def say_silent(partitions: tuple[str, ...]) -> None:
    """Nobody answered for these partitions."""
    if partitions:
        say(f"of the partitions {', '.join(partitions)} nothing is known: {_NO_NODES}", err=True)


def show_run(run: str, url: str | None, env: str | None, as_json: bool) -> int:
    run, place = place_of(run, url, env)

    async def work(client: Client) -> int:
        status = await client.status(run)
        state = state_of(status, await _steps(client, status))
        if as_json:
            say(msgspec.json.encode(state))
        else:
            _show_state(state, status)
        return EXIT_OK

    return with_place(place, work)


async def _steps(client: Client, status: RunStatus) -> tuple[StepNote, ...]:
    """How the steps of a run stand that has not ended."""
    if status.state != "running":
        return ()
    with suppress(TimeoutError):
        async with asyncio.timeout(_PICTURE_SECONDS):
            async for note in client.events(status.run):
                if isinstance(note, StateNote):
                    return note.steps
    return ()


def _show_state(state: RunState, status: RunStatus) -> None:
    ends = ""
    if state.ended is not None and state.submitted is not None:
        ends = f" after {seconds_text((state.ended - state.submitted).total_seconds())}"
    at = f" until {state.at.astimezone():%Y-%m-%d %H:%M:%S}" if state.at is not None else ""
    paused = ", paused" if state.paused else ""
    say(f"run {state.run}{f': {state.flow}' if state.flow else ''}: {state.state}{paused}{at}{ends}")
    if state.trigger is not None and state.trigger.startswith("rerun:"):
        say(f"it goes on with run {state.trigger.removeprefix('rerun:')}")
    if status.summary is not None and (when := expected_text(status.summary.expected_ms, time.time() * 1000)):
        say(f"it is expected to end {when}")
    marks = status.record.slas if status.record is not None else status.summary.slas if status.summary else ()
    for mark in marks:
        say(level_text(mark))
    for entry in state.audit:
        say(_audit_line(entry))
    if state.error is not None:
        step = f" (step {state.error.step})" if state.error.step else ""
        say(f"error: {state.error.type}: {state.error.message}{step}")
    if state.state == "unseen":
        say(_NO_NODES, err=True)
    if state.steps:
        marked = {entry.step for entry in state.audit if entry.action.startswith("mark ")}
        rows = (_step_row(step, step.step in marked) for step in state.steps)
        print_table(("STEP", "STATE", "ATTEMPTS", "TIME", "MESSAGE"), rows)


def _audit_line(entry: Audited) -> str:
    who = f" by {entry.by}" if entry.by else ""
    about = f" {entry.step}" if entry.step else ""
    why = f": {entry.note}" if entry.note else ""
    return f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S} {entry.action}{about}{who}{why}"


def _step_row(step: StepNow, is_marked: bool) -> tuple[str, ...]:
    name = shown_name(step.step, tuple(step.index) if isinstance(step.index, list) else step.index)
    return (
        f"{ICONS[step.state]} {name}",
        step.state + (f" {step.done + step.failed}/{step.total}" if step.total else "") + _whose(step, is_marked),
        str(step.attempts) if step.attempts > 1 else "",
        "" if step.seconds is None else seconds_text(step.seconds),
        (step.message or "").partition("\n")[0],
    )


def _whose(step: StepNow, is_marked: bool) -> str:
    """Where its end comes from, if not from its own doing."""
    if is_marked:
        return " (by hand)"
    return " (kept)" if not step.attempts and step.state in ("success", "failed") else ""


def show_log(run: str, follow: bool, url: str | None, env: str | None, as_json: bool) -> int:
    run, place = place_of(run, url, env)

    async def work(client: Client) -> int:
        await client.status(run)  # there is such a run
        async for note in client.lines(run, follow):
            if as_json:
                say(msgspec.json.encode(log_line(note)))
                continue
            for line in note.text.splitlines():
                say(f"{shown_name(note.step, note.index)} | {line.rstrip()}")
        return EXIT_OK

    return with_place(place, work)


def cancel_run(run: str, step: str, url: str | None, env: str | None, as_json: bool) -> int:
    run, place = place_of(run, url, env)

    async def work(client: Client) -> int:
        status = await client.status(run)
        if status.record is not None:
            raise InputError(f"the run `{run}` has ended ({status.state}): there is nothing to cancel")
        await client.cancel(run, step)
        if as_json:
            say(msgspec.json.encode(Cancelled(run=run, step=step or None)))
        else:
            say(f"asked for the end of {f'step {step} of ' if step else ''}run {run}")
        return EXIT_OK

    return with_place(place, work)


def show_nodes(url: str | None, env: str | None, as_json: bool) -> int:
    async def work(client: Client) -> int:
        found = nodes_of(await client.nodes())
        if as_json:
            say(msgspec.json.encode(found))
        elif found.nodes:
            print_table(("NODE", "HOST", "PID", "UP", "LEADS", "WORK"), map(_node_row, found.nodes))
        else:
            say("no node lives: start one with `flowc node`")
        return EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def _node_row(node: Node) -> tuple[str, ...]:
    lanes = ", ".join(f"{lane} {node.busy.get(lane, 0)}/{count}" for lane, count in sorted(node.capacity.items()))
    name = node.node + (" (ends)" if node.stopping else "")
    return (name, node.host, str(node.pid), ago(node.started.timestamp()), " ".join(node.leads), lanes)


def _counts(steps: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in steps.items())


def ago(timestamp: float) -> str:
    return seconds_text(max(time.time() - timestamp, 0.0))


def print_table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """A table: to the width of a terminal, and whole into a pipe."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold" if column != "MESSAGE" else "ellipsis", no_wrap=column == "MESSAGE")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 1_000)
    with console.capture() as captured:
        console.print(table)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
