"""`flowc var`: the variables that flows read."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("var")
def command() -> None:
    """Show and set the variables of an environment, as flows declare them: `var limit: int = 5`.

    A run reads its variables once, when it begins.
    """


@command.command("set")
@click.argument("name")
@click.argument("value")
@_JSON
@server_options
def set_(name: str, value: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Set the variable NAME, for all runs that begin from now on.

    Lists and records are given as JSON, @FILE is JSON from a file. What is deployed says which variables there are, and
    of which types; so does the project in this folder, for what is deployed next. Exit codes: 0, or 2 if it was
    refused: then nothing was changed.
    """

    def work() -> int:
        from .variables import set_variable  # start-up time: it imports the runtime, as below

        return set_variable(name, value, url, env, as_json)

    return run_command(work, as_json)


@command.command("unset")
@click.argument("name")
@_JSON
@server_options
def unset(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Let the default of the variable NAME hold again.

    Exit codes: 0, or 2 if it is not set.
    """

    def work() -> int:
        from .variables import unset_variable

        return unset_variable(name, url, env, as_json)

    return run_command(work, as_json)


@command.command("get")
@click.argument("name")
@_JSON
@server_options
def get(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Print the value of the variable NAME, as JSON: what runs that begin now see.

    Exit codes: 0, 1 if it has neither a value nor a default, 2 if nobody declares it.
    """

    def work() -> int:
        from .variables import get_variable

        return get_variable(name, url, env, as_json)

    return run_command(work, as_json)


@command.command("list")
@_JSON
@server_options
def list_(as_json: bool, url: str | None, env: str | None) -> int:
    """Show all variables that are declared or set.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .variables import list_variables

        return list_variables(url, env, as_json)

    return run_command(work, as_json)
