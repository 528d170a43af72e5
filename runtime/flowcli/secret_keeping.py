"""What `flowc secret` does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from flowrun.client.world import user_name
from flowrun.secrets import Key, KeyRing, SealedStore, SecretError, load_keys
from flowrun.transport import Transport

from .errors import EXIT_OK, InputError
from .looking import ago, print_table
from .output import say
from .remote import with_transport
from .secret_answers import SealingKeys, SecretChanged, SecretsSealed, secrets_of
from .server import ServerChoice, profile_of, server_of
from .targets import find_root

__all__ = ["Value", "list_secrets", "make_key", "remove_secret", "rotate_keys", "set_secret", "show_keys"]

#: a key file is for its owner's eyes
_MODE = 0o600


class Value(NamedTuple):
    """Where a value comes from; neither: it is typed, or comes from standard input."""

    file: Path | None
    variable: str | None

    def read(self, name: str) -> str:
        """Raises InputError."""
        if self.file is not None and self.variable is not None:
            raise InputError("--from-file and --from-env are both given", help="give one of them")
        if self.variable is not None:
            found = os.environ.get(self.variable)
            if found is None:
                raise InputError(f"the environment variable {self.variable} is not set", place="--from-env")
            return found
        if self.file is not None:
            return _without_end(_text(self.file))
        if sys.stdin.isatty():
            typed: str = click.prompt(f"value of {name}", hide_input=True, confirmation_prompt=True, err=True)
            return typed
        try:
            return _without_end(sys.stdin.buffer.read().decode())
        except UnicodeDecodeError as error:
            raise InputError(
                "the value is no UTF-8 text", place="standard input", help="encode it, as base64"
            ) from error


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", place=str(file)) from error
    except UnicodeDecodeError as error:
        raise InputError("the value is no UTF-8 text", place=str(file), help="encode it, as base64") from error


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


# ---- secrets --------------------------------------------------------------------------------------------------------


def set_secret(name: str, value: Value, url: str | None, env: str | None, as_json: bool, *, is_new: bool | None) -> int:
    """Gives the exit code. Raises InputError, FlowError, as all below."""
    server, keys = _place(url, env)
    _ = keys.first  # before anything is typed
    read = value.read(name)

    async def work(transport: Transport) -> int:
        await SealedStore(transport, keys).set(name, read, user_name(), is_new=is_new)
        answer = SecretChanged(secret=name, env=server.env, action="set" if is_new is None else "rotated")
        return _show(answer, f"{name} is {answer.action}", as_json)

    return with_transport(server, work)


def remove_secret(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    server = server_of(url, env, find_root(None))

    async def work(transport: Transport) -> int:
        if not await SealedStore(transport, KeyRing()).remove(name):
            help = "`flowc secret list` shows those that are kept on the server; others come from elsewhere"
            raise InputError(f"there is no secret `{name}` in `{server.env}`", help=help)
        return _show(SecretChanged(secret=name, env=server.env, action="removed"), f"{name} is removed", as_json)

    return with_transport(server, work)


def list_secrets(url: str | None, env: str | None, as_json: bool) -> int:
    server = server_of(url, env, find_root(None))
    try:
        keys = _place(url, env)[1]
    except SecretError as error:  # who has lost the key wants to know what it sealed
        say(f"warning: {error}", err=True)
        keys = KeyRing()

    async def work(transport: Transport) -> int:
        found = secrets_of(server.env, await SealedStore(transport, keys).all())
        if as_json:
            say(msgspec.json.encode(found))
        elif not found.secrets:
            say(f"no secrets are kept in {server.env}: `flowc secret set NAME` sets one")
        else:
            rows = ((one.name, ago(one.at.timestamp()), one.by, one.key + ("" if one.readable else " (not here)"))
                    for one in found.secrets)  # fmt: skip
            print_table(("SECRET", "SET", "BY", "KEY"), rows)
        return EXIT_OK

    return with_transport(server, work)


# ---- keys -----------------------------------------------------------------------------------------------------------


def make_key(file: Path, as_json: bool) -> int:
    before = load_keys(str(file), {}) if file.exists() else KeyRing()
    key = Key.new()
    lines = [f"{key.text}  # {key.id}\n"] + ([_text(file)] if before.ids else [])
    temporary = file.with_name(f".{file.name}.{key.id}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            if file.exists():  # whoever may read it now may read it afterwards
                known = file.stat()
                os.fchown(opened.fileno(), known.st_uid, known.st_gid)
                os.fchmod(opened.fileno(), known.st_mode & 0o777)
            opened.write("".join(lines))
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write: {error.strerror or error}", place=str(file)) from error
    text = f"the key {key.id} is in {file}"
    if before.ids:
        text += "; give it to every node, then run `flowc secret key rotate`, then take the older ones away"
    return _show(SealingKeys(keys=(key.id, *before.ids)), text, as_json)


def show_keys(url: str | None, env: str | None, as_json: bool) -> int:
    _, keys = _place(url, env)
    _ = keys.first
    return _show(SealingKeys(keys=keys.ids), "\n".join(keys.ids), as_json)


def rotate_keys(url: str | None, env: str | None, as_json: bool) -> int:
    server, keys = _place(url, env)

    async def work(transport: Transport) -> int:
        count = await SealedStore(transport, keys).rotate_key()
        answer = SecretsSealed(env=server.env, key=keys.first.id, count=count)
        return _show(answer, f"{count} secrets were sealed anew; all are sealed with the key {keys.first.id}", as_json)

    return with_transport(server, work)


def _place(url: str | None, env: str | None) -> tuple[ServerChoice, KeyRing]:
    """The server, and the keys that are here."""
    root = find_root(None)
    return server_of(url, env, root), load_keys(profile_of(url, env, root).key_file)


def _show(answer: msgspec.Struct, text: str, as_json: bool) -> int:
    say(msgspec.json.encode(answer) if as_json else text)
    return EXIT_OK
