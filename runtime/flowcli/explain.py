"""`flowc explain CODE`: what a finding means, with a failing and a fixed example."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

import click

from .errors import InputError

if TYPE_CHECKING:
    from flowc.catalog import Entry

__all__ = ["command"]


@click.command("explain")
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain a finding by its CODE (FL0201) or its name (unknown-name). Without one, list all."""
    from flowc import catalog  # start-up time: `flowc --help` does not need it

    if code is None:
        click.echo("\n".join(f"{entry.code}  {entry.name}" for entry in catalog.entries()))
        return
    entry = catalog.by_code().get(code.upper()) or catalog.by_name().get(code.lower())
    if entry is None:
        raise InputError(f"there is no finding `{code}`", help=_hint(code, catalog.entries()))
    click.echo(_explanation(entry))


def _hint(code: str, entries: list[Entry]) -> str:
    from difflib import get_close_matches  # only a mistake pays for it

    names = {name: entry for entry in entries for name in (entry.code, entry.name)}
    close = get_close_matches(code.lower(), names, 1) or get_close_matches(code.upper(), names, 1)
    return f"did you mean `{close[0]}`?" if close else "`flowc explain` lists all"


def _explanation(entry: Entry) -> str:
    parts = [
        f"{entry.code} {entry.name} ({entry.severity})",
        _filled(entry.message),
        textwrap.fill(" ".join(entry.explanation.split()), 100),
    ]
    if entry.help:
        parts.append(f"What to do: {_filled(entry.help)}")
    if entry.bad:
        parts.append(f"Fails:\n\n{_example(entry.bad)}")
    if entry.good:
        parts.append(f"Fixed:\n\n{_example(entry.good)}")
    return "\n\n".join(parts)


def _filled(template: str) -> str:
    """The template with its blanks shown as `<name>`."""
    return re.sub(r"\{(\w+)[^}]*\}", r"<\1>", template).replace("{{", "{").replace("}}", "}")


def _example(text: str) -> str:
    return textwrap.indent(textwrap.dedent(text).strip("\n"), "    ")
