"""`flowc undeploy`: takes a project out of an environment."""

from __future__ import annotations

from typing import Any

import click

from .deploy import deploy_options, project_option
from .output import run_command

__all__ = ["command"]


@click.command("undeploy")
@project_option
@deploy_options
def command(as_json: bool, **asked: Any) -> int:
    """Take the project's flows, triggers, pools and limits out of an environment. What runs goes on to its end.

    The history stays: `flowc rollback` deploys it again. Exit codes: 0, or 2 if nothing of it is deployed.
    """

    def work() -> int:
        from .deploying import Asked, undeploy  # start-up time: it imports the runtime

        return undeploy(Asked(as_json=as_json, **asked))

    return run_command(work, as_json)
