"""`flowc lineage`: which steps read and update which datasets."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("lineage")
@click.argument("name", required=False, metavar="[DATASET | FLOW]")
@click.option("--deployed", is_flag=True, help="Of all that is deployed, instead of the project's files.")
@click.option("--dot", is_flag=True, help="Print a graph for Graphviz.")
@click.option("--mermaid", is_flag=True, help="Print a graph for Mermaid.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_options
def command(
    name: str | None, deployed: bool, dot: bool, mermaid: bool, as_json: bool, url: str | None, env: str | None
) -> int:
    """Show where data comes from and goes to: of all datasets, of one, or of a flow, step by step.

    Datasets are what steps name in `reads` and `updates`. Without --deployed the project in this folder is compiled.
    Exit codes: 0, or 2 if the input is wrong or the server does not answer.
    """

    def work() -> int:
        from .showing_lineage import show_lineage  # start-up time: it imports the compiler, or the runtime

        form = "json" if as_json else "dot" if dot else "mermaid" if mermaid else "tree"
        return show_lineage(name, deployed, form, url, env)

    return run_command(work, as_json)
