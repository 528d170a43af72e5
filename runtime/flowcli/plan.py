"""`flowc plan --deployed`: what a deployment would change."""

from __future__ import annotations

from pathlib import Path

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("plan")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--deployed", is_flag=True, default=True, help="Compare with what is deployed (it always does).")
@click.option("--no-code", is_flag=True, help="As `flowc deploy` has it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(
    paths: tuple[Path, ...], deployed: bool, no_code: bool, as_json: bool, url: str | None, env: str | None
) -> int:
    """Show what `flowc deploy` would change in an environment, and what speaks against it. Changes nothing.

    Exit codes: 0, or 2 if it would be refused, or the server does not answer.
    """

    def work() -> int:
        from .deploying import Asked, preview  # start-up time: it imports the compiler and the runtime

        return preview(Asked(paths=paths, code=not no_code, as_json=as_json, url=url, env=env))

    return run_command(work, as_json)
