"""`flowc signal`: a message into a run."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("signal")
@click.argument("run")
@click.argument("name")
@click.argument("value", required=False, metavar="[JSON]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(run: str, name: str, value: str | None, as_json: bool, url: str | None, env: str | None) -> int:
    """Send the signal NAME into RUN, with a value as JSON (or @FILE). It is kept until a step waits for it. For RUN,
    `last` stands for the latest run of this folder.

    Exit codes: 0 the run has it, 2 if it is refused (the run has ended, it waits for no such signal, the value is not
    of the declared type) or the server does not answer.
    """

    def work() -> int:
        from .saying import send_signal  # start-up time: it imports the runtime

        return send_signal(run, name, value, url, env, as_json)

    return run_command(work, as_json)
