"""`flowc cancel`: asks for the end of a run, or of a part of it."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("cancel")
@click.argument("run")
@click.argument("step", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(run: str, step: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Ask for the end of RUN, or of a STEP or a group of it. What waits for a cancelled step goes on by its rules.

    Exit codes: 0 the server has it, 2 if there is no such run, it has ended, or the server does not answer.
    """

    def work() -> int:
        from .looking import cancel_run  # start-up time: it imports the runtime

        return cancel_run(run, step, url, env, as_json)

    return run_command(work, as_json)
