"""`flowc deploy`: makes the project's flows what the environment runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .output import run_command
from .server import server_options

__all__ = ["command", "deploy_options", "project_option"]


def deploy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of all commands that change what is deployed: parameters `note`, `by`, `key`, `yes`, `as_json`, and
    those of `server_options`."""
    options = (
        click.option("--note", default="", metavar="TEXT", help="Why; it stands in the history."),
        click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]"),
        click.option("--key", type=click.Path(path_type=Path), metavar="FILE", envvar="FLOW_SIGNING_KEY",
                     show_envvar=True, help="A private key to sign it with. [default: `signing_key` of [env.NAME]]"),
        click.option("--yes", "-y", is_flag=True, help="Do not ask, where the environment wants that."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        server_options,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--project`."""
    return click.option("--project", default="", metavar="NAME", help="Another project than that of this folder.")(
        command
    )


@click.command("deploy")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--no-code", is_flag=True, help="Without the project's code: nodes use what is installed there.")
@click.option("--strict", is_flag=True, help="Refuse it also where it cannot be told whether a secret is there.")
@deploy_options
def command(paths: tuple[Path, ...], dry_run: bool, no_code: bool, as_json: bool, **asked: Any) -> int:
    """Compile the project, and deploy it: its flows, triggers, pools and limits, in one step.

    PATHS: its sources, where there is no flow.toml. Runs that have begun go on with the plan that they began with.
    Exit codes: 0 it is deployed, or was already; 2 it is refused, and nothing has changed: the sources have errors,
    another deployment came in between, another project has such a flow, something that it needs is missing.
    """

    def work() -> int:
        from .deploying import Asked, deploy  # start-up time: it imports the compiler and the runtime

        return deploy(Asked(paths=paths, code=not no_code, as_json=as_json, **asked), dry_run)

    return run_command(work, as_json)
