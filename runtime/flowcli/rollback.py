"""`flowc rollback`: goes back to an earlier deployment."""

from __future__ import annotations

from typing import Any

import click

from .deploy import deploy_options, project_option
from .output import run_command

__all__ = ["command"]


@click.command("rollback")
@click.argument("number", required=False, type=click.IntRange(1))
@project_option
@deploy_options
def command(number: int | None, as_json: bool, **asked: Any) -> int:
    """Deploy again what NUMBER of the history deployed; without one, what was deployed before.

    It is a deployment of its own, behind all others: the history forgets nothing. Exit codes: 0, or 2 if it is refused
    (there is no such number, or what it deployed is not kept any more).
    """

    def work() -> int:
        from .deploying import Asked, rollback  # start-up time: it imports the runtime

        return rollback(Asked(as_json=as_json, **asked), number)

    return run_command(work, as_json)
