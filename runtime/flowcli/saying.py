"""What `signal`, `emit`, `approve`, `reject` and `approvals` do: something is said to runs that wait."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
from flowrun.client import Approval, Client

from .answers import Decided, Emitted, Signalled, approvals_of
from .errors import EXIT_OK, InputError
from .looking import ago, print_table, say_silent
from .output import say
from .remote import place_of, with_place
from .screen.style import seconds_text

__all__ = ["decide", "emit", "json_value", "send_signal", "show_approvals"]

#: what is shown of a value in a table
_SHOWN = 60


def send_signal(run: str, name: str, text: str | None, url: str | None, env: str | None, as_json: bool) -> int:
    value, (run, place) = json_value(text), place_of(run, url, env)

    async def work(client: Client) -> int:
        await client.signal(run, name, value)
        _told(Signalled(run=run, signal=name), f"run {run} has the signal {name}", as_json)
        return EXIT_OK

    return with_place(place, work)


def emit(subject: str, key: str, text: str | None, url: str | None, env: str | None, as_json: bool) -> int:
    value, (_, place) = json_value(text), place_of("", url, env)

    async def work(client: Client) -> int:
        await client.emit(subject, value, key=key)
        about = f" about {key}" if key else ""
        _told(Emitted(subject=subject, key=key or None), f"{subject}{about} was told to all that wait for it", as_json)
        return EXIT_OK

    return with_place(place, work)


def decide(
    run: str, step: str, approved: bool, note: str | None, by: str, url: str | None, env: str | None, as_json: bool
) -> int:
    run, place = place_of(run, url, env)

    async def work(client: Client) -> int:
        found = await (client.approve if approved else client.reject)(run, step, note=note, by=by)
        what = "approved" if approved else "rejected"
        _told(Decided(run=run, step=found, approved=approved), f"step {found} of run {run} is {what}", as_json)
        return EXIT_OK

    return with_place(place, work)


def show_approvals(run: str, url: str | None, env: str | None, as_json: bool) -> int:
    run, place = place_of(run, url, env)

    async def work(client: Client) -> int:
        found = await client.approvals(run)
        if as_json:
            say(msgspec.json.encode(approvals_of(found)))
            return EXIT_OK
        if found:
            print_table(("RUN", "STEP", "GROUP", "WAITS", "LEFT", "TITLE", "SHOW"), map(_row, found))
        elif not found.silent:
            say("nothing waits for an approval")
        say_silent(found.silent)
        return EXIT_OK

    return with_place(place, work)


def _row(found: Approval) -> tuple[str, ...]:
    left = "" if found.until_ms is None else seconds_text(max(found.until_ms / 1000 - time.time(), 0.0))
    shown = "" if found.show is None else json.dumps(found.show, ensure_ascii=False)
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
    return (found.run, found.step, found.group, ago(found.since_ms / 1000), left, found.title, shown)


def _told(answer: msgspec.Struct, text: str, as_json: bool) -> None:
    say(msgspec.json.encode(answer) if as_json else text)


def json_value(text: str | None) -> object:
    """What was typed as JSON, or as `@file`. Raises InputError."""
    if text is None:
        return None
    source, place = text, ""
    if text.startswith("@"):
        place = text[1:]
        try:
            source = Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the value cannot be read: {error}", place=place) from error
    try:
        value: object = msgspec.json.decode(source)
    except (msgspec.DecodeError, RecursionError) as error:
        help = "write JSON: 1, true, '\"text\"', '{\"ok\": true}', or @file.json"
        raise InputError(f"the value is no JSON ({error})", place=place, help=help) from error
    return value
