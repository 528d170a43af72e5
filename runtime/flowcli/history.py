"""`flowc history`: the deployments of a project."""

from __future__ import annotations

import click

from .deploy import project_option
from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("history")
@project_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(project: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Show who deployed what of the project, and when, the newest first.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .deployed import show_history  # start-up time: it imports the runtime

        return show_history(project, url, env, as_json)

    return run_command(work, as_json)
