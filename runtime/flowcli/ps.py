"""`flowc ps`: what runs, and how a run stands."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("ps")
@click.argument("run", required=False)
@click.option("--flow", default="", metavar="NAME", help="Runs of this flow only.")
@click.option("--limit", default=100, type=click.IntRange(1, 10_000), show_default=True, help="Most runs to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(run: str | None, flow: str, limit: int, as_json: bool, url: str | None, env: str | None) -> int:
    """Show the runs that have not ended, or with RUN how that one stands, step by step.

    Exit codes: 0, or 2 if there is no such run or the server does not answer.
    """

    def work() -> int:
        from .looking import show_run, show_runs  # start-up time: it imports the runtime

        return show_run(run, url, env, as_json) if run else show_runs(flow, limit, url, env, as_json)

    return run_command(work, as_json)
