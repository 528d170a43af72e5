"""`flowc logs`: what the tasks of a run wrote."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("logs")
@click.argument("run")
@click.option("--follow", "-f", is_flag=True, help="Go on until the run ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
@server_options
def command(run: str, follow: bool, as_json: bool, url: str | None, env: str | None) -> int:
    """Show what the tasks of RUN wrote, as far as it is kept.

    Exit codes: 0, or 2 if there is no such run or the server does not answer.
    """

    def work() -> int:
        from .looking import show_log  # start-up time: it imports the runtime

        return show_log(run, follow, url, env, as_json)

    return run_command(work, as_json)
