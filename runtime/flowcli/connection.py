"""`flowc connection`: the connections that flows declare, and what an environment sets of them."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("connection")
def command() -> None:
    """Show the connections that flows declare, set their fields for an environment, and try them.

    What an environment sets wins over the .flow files, from the next task on. Values of secrets are never shown.
    """


@command.command("list")
@_JSON
@server_options
def list_(as_json: bool, url: str | None, env: str | None) -> int:
    """Show all connections that are deployed, or declared in this folder.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .connecting import list_connections  # start-up time: it imports the runtime, as below

        return list_connections(url, env, as_json)

    return run_command(work, as_json)


@command.command("show")
@click.argument("name")
@_JSON
@server_options
def show(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Show the fields of the connection NAME, and where they come from.

    Exit codes: 0, or 2 if nobody declares it.
    """

    def work() -> int:
        from .connecting import show_connection

        return show_connection(name, url, env, as_json)

    return run_command(work, as_json)


@command.command("set")
@click.argument("name")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD=VALUE…")
@_JSON
@server_options
def set_(name: str, fields: tuple[str, ...], as_json: bool, url: str | None, env: str | None) -> int:
    """Set fields of the connection NAME for the environment: `host=db.example port=5432 password=secret(db_password)`.

    Exit codes: 0, or 2 if one was refused: then nothing was changed.
    """

    def work() -> int:
        from .connecting import set_connection

        return set_connection(name, fields, url, env, as_json)

    return run_command(work, as_json)


@command.command("unset")
@click.argument("name")
@click.argument("fields", nargs=-1, metavar="[FIELD…]")
@_JSON
@server_options
def unset(name: str, fields: tuple[str, ...], as_json: bool, url: str | None, env: str | None) -> int:
    """Let the .flow files say again what fields of the connection NAME are; without FIELD, all of them.

    Exit codes: 0, or 2 if the environment does not set one.
    """

    def work() -> int:
        from .connecting import unset_connection

        return unset_connection(name, fields, url, env, as_json)

    return run_command(work, as_json)


@command.command("test")
@click.argument("name")
@_JSON
@server_options
def test(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Connect from here as the connection NAME says, with secrets as they are found from here.

    Exit codes: 0, 1 if it cannot be used, 2 if nobody declares it or a secret is missing here.
    """

    def work() -> int:
        from .connecting import test_connection

        return test_connection(name, url, env, as_json)

    return run_command(work, as_json)
