"""`flowc approvals`: what waits for somebody's decision."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("approvals")
@click.argument("run", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(run: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Show the steps that wait for an approval, of RUN or of all runs: who should decide, and about what. Answer with
    `flowc approve` or `flowc reject`.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .saying import show_approvals  # start-up time: it imports the runtime

        return show_approvals(run, url, env, as_json)

    return run_command(work, as_json)
