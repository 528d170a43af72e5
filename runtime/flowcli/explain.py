"""`flowc explain CODE`: what a finding means, with a failing and a fixed example."""

from __future__ import annotations

import click

from .errors import InputError
from .output import say

__all__ = ["command"]


@click.command("explain")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain a finding by its CODE (FL0201) or its name (unknown-name). Without one, list all."""
    from flowc import catalog  # start-up time: `flowc --help` does not need them
    from flowc.explain import explain

    if code is None:
        say("\n".join(f"{entry.code}  {entry.name:32} {entry.severity}" for entry in catalog.entries()))
        return
    try:
        page = explain(code)
    except KeyError as error:
        raise InputError(str(error.args[0])) from error
    say(page.rstrip())
