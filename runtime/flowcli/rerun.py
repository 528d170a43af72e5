"""`flowc rerun`: goes on with an ended run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("rerun")
@click.argument("run")
@click.option("--from", "steps", multiple=True, metavar="STEP", help="Run this step again, too, and all after it.")
@click.option("--all", "whole", is_flag=True, help="Run all steps again.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE",
              help="Another value for a parameter: what depends on it runs again.")  # fmt: skip
@click.option("--plan", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="Go on with another plan of the flow, of a .flow or a .flowplan: what is not the same work there "
              "runs, too.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only show what would keep its result, and what would run.")
@click.option("--note", default="", metavar="TEXT", help="Why; it stands in the record.")
@click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]")
@click.option("--wait", is_flag=True, help="Show the new run live until it ends, as `flowc run` does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the new run, or with --wait the ended run.")
@click.option("--quiet", "-q", is_flag=True, help="Print the new run's id only; with --wait the result only.")
@server_options
def command(as_json: bool, quiet: bool, **options: Any) -> int:
    """Start a run that goes on with RUN, which has ended: steps that ended well keep their results, and those run that
    failed, were cancelled or never began, and all after them.

    Exit codes: 0 the server has it (with --wait: success), 1 the new run failed, 2 it is refused (nothing failed, no
    such run or step, nothing is left of the run) or nobody answers.
    """

    def work() -> int:
        from .by_hand import Again, rerun  # start-up time: it imports the runtime

        return rerun(Again(output="json" if as_json else "quiet" if quiet else "screen", **options))

    return run_command(work, as_json)
