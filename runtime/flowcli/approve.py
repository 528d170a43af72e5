"""`flowc approve` and `flowc reject`: what somebody decides."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command", "deciding"]

_RUN = "`last` stands for the latest run of this folder"
_EXIT_CODES = """Exit codes: 0 it is decided, 2 if it is refused (somebody decided before, the run has ended, no such
step waits) or the server does not answer."""


def deciding(name: str, approved: bool, help: str) -> click.Command:
    """A command that answers a step."""

    @click.command(name, help=f"{help} For RUN, {_RUN}; STEP is needed where several wait.\n\n{_EXIT_CODES}")
    @click.argument("run")
    @click.argument("step", required=False, default="")
    @click.option("--note", metavar="TEXT", help="Why.")
    @click.option("--by", default="", metavar="NAME", help="Who decides. [default: the user of this process]")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @server_options
    def command(run: str, step: str, note: str | None, by: str, as_json: bool, url: str | None, env: str | None) -> int:
        def work() -> int:
            from .saying import decide  # start-up time: it imports the runtime

            return decide(run, step, approved, note, by, url, env, as_json)

        return run_command(work, as_json)

    return command


command = deciding("approve", True, "Approve what a step of RUN waits for.")
