"""`flowc secret`: secrets that are kept on the server, sealed, and the keys that seal them."""

from __future__ import annotations

from pathlib import Path

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_FILE = click.option("--from-file", "file", type=click.Path(path_type=Path),
                     help="Take the value from a file; a line's end at its end is left out.")  # fmt: skip
_VARIABLE = click.option("--from-env", "variable", metavar="NAME", help="Take it from an environment variable.")


@click.group("secret")
def command() -> None:
    """Set, replace and remove secrets of an environment. No value is ever shown.

    Values are sealed (AES-256-GCM) with the key in FLOW_KEY, in the file that FLOW_KEY_FILE or `key_file` in flow.toml
    names, or in an external store (FLOW_KEY_FROM); the nodes need the same key. `flowc secret key new` makes one.
    """


@command.command("set")
@click.argument("name")
@_FILE
@_VARIABLE
@_JSON
@server_options
def set_(name: str, file: Path | None, variable: str | None, as_json: bool, url: str | None, env: str | None) -> int:
    """Set the secret NAME, new or not: to what is typed, unseen, or comes from standard input.

    A value is no argument, for command lines are kept and seen. Exit codes: 0, or 2 if it was refused: then nothing was
    changed.
    """

    def work() -> int:
        from .secret_keeping import Value, set_secret  # start-up time: it imports the runtime, as below

        return set_secret(name, Value(file, variable), url, env, as_json, is_new=None)

    return run_command(work, as_json)


@command.command("rotate")
@click.argument("name")
@_FILE
@_VARIABLE
@_JSON
@server_options
def rotate(name: str, file: Path | None, variable: str | None, as_json: bool, url: str | None, env: str | None) -> int:
    """Give the secret NAME, which must be there, another value.

    Tasks that begin more than 20 seconds later see it. Exit codes as `set` has them.
    """

    def work() -> int:
        from .secret_keeping import Value, set_secret

        return set_secret(name, Value(file, variable), url, env, as_json, is_new=False)

    return run_command(work, as_json)


@command.command("list")
@_JSON
@server_options
def list_(as_json: bool, url: str | None, env: str | None) -> int:
    """Show the names of secrets, when and by whom they were set, and the ids of their keys.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .secret_keeping import list_secrets

        return list_secrets(url, env, as_json)

    return run_command(work, as_json)


@command.command("rm")
@click.argument("name")
@_JSON
@server_options
def remove(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Remove the secret NAME. It needs no key.

    Exit codes: 0, or 2 if there is none.
    """

    def work() -> int:
        from .secret_keeping import remove_secret

        return remove_secret(name, url, env, as_json)

    return run_command(work, as_json)


@command.group("key")
def key() -> None:
    """Make keys that secrets are sealed with, and replace them."""


@key.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@_JSON
def new_key(file: Path, as_json: bool) -> int:
    """Write a new key into FILE. If there is a file with keys, the new one is put before them.

    Keep it where backups of the server are not: whoever has both reads every secret. Exit codes: 0, or 2 if the file
    cannot be written.
    """

    def work() -> int:
        from .secret_keeping import make_key

        return make_key(file, as_json)

    return run_command(work, as_json)


@key.command("show")
@_JSON
@server_options
def show_key(as_json: bool, url: str | None, env: str | None) -> int:
    """Print the ids of the keys that are here, the one that seals first. No server is asked.

    Exit codes: 0, or 2 if there is none.
    """

    def work() -> int:
        from .secret_keeping import show_keys

        return show_keys(url, env, as_json)

    return run_command(work, as_json)


@key.command("rotate")
@_JSON
@server_options
def rotate_key(as_json: bool, url: str | None, env: str | None) -> int:
    """Seal all secrets anew with the first of the keys that are here; the others open what is sealed with them.

    Before, give every node the new key and the old one; after, take the old one away. Exit codes: 0, or 2 if a key is
    missing: then nothing was changed.
    """

    def work() -> int:
        from .secret_keeping import rotate_keys

        return rotate_keys(url, env, as_json)

    return run_command(work, as_json)
