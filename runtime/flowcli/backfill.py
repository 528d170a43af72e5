"""`flowc backfill`: runs of a deployed flow for the windows of the past."""

from __future__ import annotations

from typing import Any

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("backfill")
@click.argument("target", required=False, metavar="FLOW | FLOW.TRIGGER")
@click.option("--from", "first", metavar="DATE", help="The first day, in the trigger's time zone; or 2013-01-31T06:00.")
@click.option("--to", "last", metavar="DATE", help="The last day, itself included.")
@click.option("--reverse", is_flag=True, help="The latest window first.")
@click.option("--only", type=click.Choice(["open", "failed"]), default="open", show_default=True,
              help="open: what never succeeded; failed: what ran and failed.")  # fmt: skip
@click.option("--concurrency", "-c", type=click.IntRange(1, 10_000), default=16, show_default=True, metavar="N",
              help="Runs of it at the same time.")  # fmt: skip
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter, of all runs.")
@click.option("--dry-run", is_flag=True, help="Show what would be run, and start nothing.")
@click.option("--detach", is_flag=True, help="Start it, print its name, and go.")
@click.option("--attach", metavar="NAME", help="Show a backfill that runs, or how it ended.")
@click.option("--stop", metavar="NAME", help="Start nothing more of a backfill.")
@click.option("--list", "listed", is_flag=True, help="Show the backfills that there are.")
@click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(attach: str | None, stop: str | None, listed: bool, as_json: bool, **options: Any) -> int:
    """Run a deployed flow for the windows of its trigger that begin between two days.

    What has succeeded is kept, and what runs is not started again; so the same command goes on with what was stopped,
    and attaches to what runs. Ctrl-C leaves it running. Exit codes: 0 all windows succeeded, 1 some failed, or it was
    stopped, 2 the input is wrong or the server does not answer, 130 after Ctrl-C.
    """

    def work() -> int:
        from . import backfilling  # start-up time: it imports the runtime

        asked = backfilling.Asked(as_json=as_json, **options)
        if listed:
            return backfilling.show_all(asked)
        if stop:
            return backfilling.stop(asked, stop)
        return backfilling.attach(asked, attach) if attach else backfilling.backfill(asked)

    return run_command(work, as_json)
