"""`flowc key`: keys that deployments are signed with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .errors import EXIT_OK, InputError
from .files import read_file
from .output import run_command, say

__all__ = ["command"]


@click.group("key")
def command() -> None:
    """Make and show keys (ed25519) that deployments are signed with."""


@command.command("new")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def new(file: Path, as_json: bool) -> int:
    """Write a new private key into FILE, which must not be there, and print its public key, for `trusted`.

    Exit codes: 0, or 2 if the file cannot be written.
    """

    def work() -> int:
        from flowrun.deployments.signing import SigningKey  # start-up time, as below

        key = SigningKey.new()
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(key.to_pem())
        except FileExistsError as error:
            help = "name another file: a key that signed something is not to be lost"
            raise InputError("there is a file already", place=str(file), help=help) from error
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror or error}", place=str(file)) from error
        return _show(file, key.public, as_json)

    return run_command(work, as_json)


@command.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> int:
    """Print the public key of the private key in FILE.

    Exit codes: 0, or 2 if there is none.
    """

    def work() -> int:
        from flowrun.deployments.signing import KeyProblem, SigningKey

        try:
            return _show(file, SigningKey.from_pem(read_file(file, "private key")).public, as_json)
        except KeyProblem as error:
            raise InputError(str(error), place=str(file)) from error

    return run_command(work, as_json)


def _show(file: Path, public: bytes, as_json: bool) -> int:
    from flowrun.deployments.signing import key_text

    text = key_text(public)
    if as_json:
        import msgspec

        from .deployment_answers import SigningKeyInfo

        say(msgspec.json.encode(SigningKeyInfo(file=str(file), public=text)))
    else:
        say(text)
    return EXIT_OK
