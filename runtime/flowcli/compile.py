"""`flowc compile [PATHS]`: checks sources and writes plans into `.flow/build`."""

from __future__ import annotations

from pathlib import Path

import click

from .errors import EXIT_INPUT, EXIT_OK
from .output import say

__all__ = ["command"]


@click.command("compile")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print findings and plans as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print findings only.")
def command(paths: tuple[Path, ...], as_json: bool, quiet: bool) -> int:
    """Check .flow files and write their plans into .flow/build.

    PATHS are files and folders; without any, all sources of the project (the folder of flow.toml).
    """
    from .building import compile_all  # start-up time: it imports the compiler

    outcome = compile_all(list(paths))
    if as_json:
        say(outcome.as_json())
    else:
        outcome.show_findings()
        if not quiet:
            say(outcome.summary())
    return EXIT_INPUT if outcome.has_errors else EXIT_OK
