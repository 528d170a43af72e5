"""`flowc emit`: something happened outside."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("emit")
@click.argument("subject")
@click.argument("value", required=False, metavar="[JSON]")
@click.option("--key", default="", metavar="TEXT", help="What it is about: steps wait for a subject and a key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(subject: str, value: str | None, key: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Tell all runs that wait for the event SUBJECT that it happened, with a value as JSON (or @FILE).

    Exit codes: 0 no run that waits can miss it, 2 if the value is no JSON or the server does not answer.
    """

    def work() -> int:
        from .saying import emit  # start-up time: it imports the runtime

        return emit(subject, key, value, url, env, as_json)

    return run_command(work, as_json)
