"""`flowc deployments`: what is deployed in an environment."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("deployments")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(as_json: bool, url: str | None, env: str | None) -> int:
    """Show the projects and flows that are deployed in an environment.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .deployed import show_deployments  # start-up time: it imports the runtime

        return show_deployments(url, env, as_json)

    return run_command(work, as_json)
