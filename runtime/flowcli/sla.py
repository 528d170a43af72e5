"""`flowc sla`: which service levels were met, and which were missed."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("sla")
@click.argument("flow", required=False)
@click.option("--since", metavar="DATE|AGE", help="Since a day (2026-01-31, UTC), or 12h, 7d, 4w. [default: 30d]")
@click.option("--misses", default=10, type=click.IntRange(0, 500), show_default=True, help="Last misses to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(flow: str | None, since: str | None, misses: int, as_json: bool, url: str | None, env: str | None) -> int:
    """Show how often the service levels of all flows, or of FLOW and its steps, were met and missed.

    Counts are kept by day (UTC) for 92 days. Neither met nor missed is what failed, was cancelled or expired before its
    time. Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .sla_report import show_levels  # start-up time: it imports the runtime

        return show_levels(flow or "", since, misses, url, env, as_json)

    return run_command(work, as_json)
