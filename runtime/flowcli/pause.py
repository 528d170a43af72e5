"""`flowc pause` and `flowc resume`: of a run, or of all runs of a flow."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command", "pausing"]


def pausing(name: str, help: str) -> click.Command:
    """The one command or the other."""

    @click.command(name, help=help)
    @click.argument("run", required=False, default="")
    @click.option("--flow", default="", metavar="NAME", help="All runs of this flow in the environment.")
    @click.option("--note", default="", metavar="TEXT", help="Why; it stands in the record.")
    @click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @server_options
    def command(run: str, flow: str, note: str, by: str, as_json: bool, url: str | None, env: str | None) -> int:
        def work() -> int:
            from . import by_hand  # start-up time: it imports the runtime

            do = by_hand.pause if name == "pause" else by_hand.resume
            return do(run, flow, note, by, url, env, as_json)

        return run_command(work, as_json)

    return command


command = pausing(
    "pause",
    "Pause RUN: what runs of it goes on to its end, and nothing new starts until `flowc resume`. With --flow, all runs "
    "of a flow; new ones wait to begin. Exit codes: 0 it is paused, 2 if there is no such run, it has ended, or nobody "
    "answers.",
)
