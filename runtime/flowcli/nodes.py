"""`flowc nodes`: who works for an environment."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("nodes")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(as_json: bool, url: str | None, env: str | None) -> int:
    """Show the nodes of an environment: what they can run at the same time, what they run, what they lead.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .looking import show_nodes  # start-up time: it imports the runtime

        return show_nodes(url, env, as_json)

    return run_command(work, as_json)
