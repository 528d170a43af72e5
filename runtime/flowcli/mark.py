"""`flowc mark`: ends a step by hand."""

from __future__ import annotations

from typing import Literal

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("mark")
@click.argument("run")
@click.argument("step")
@click.argument("state", type=click.Choice(["success", "skipped", "failed"]))
@click.option("--value", metavar="JSON", help="The value of a step that is marked as success, or @FILE.")
@click.option("--reason", "note", default="", metavar="TEXT", help="Why; it stands in the record.")
@click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(
    run: str, step: str, state: Literal["success", "skipped", "failed"], value: str | None, note: str, by: str,
    as_json: bool, url: str | None, env: str | None,
) -> int:  # fmt: skip
    """End a STEP of RUN that has not ended as STATE, whatever it does. "call.step" is a step of a child run.

    Exit codes: 0 it is done, 2 if it is refused (the step has ended, the value is not of its type, the run has ended)
    or nobody answers.
    """

    def work() -> int:
        from .by_hand import mark  # start-up time: it imports the runtime

        return mark(run, step, state, value, note, by, url, env, as_json)

    return run_command(work, as_json)
