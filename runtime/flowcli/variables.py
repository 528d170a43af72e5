"""What `flowc var` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from flowrun.client import Client
from flowrun.parameters import parse_argument
from flowrun.settings import Settings
from flowrun.transport import Transport
from flowrun.variables import read_declared, unknown

from .declared import DeclaredHere, declared_here
from .errors import EXIT_FAILED, EXIT_OK, InputError
from .looking import ago, print_table
from .output import say
from .remote import with_client, with_transport
from .server import server_of
from .targets import find_root
from .variable_answers import VariableChanged, Variables, entry_of, variables_of

__all__ = ["get_variable", "list_variables", "set_variable", "unset_variable"]

#: of a value in a table, in characters
_WIDTH = 60


def set_variable(name: str, text: str, url: str | None, env: str | None, as_json: bool) -> int:
    """Gives the exit code. Raises InputError, FlowError, as all below."""
    root = find_root(None)
    server, here = server_of(url, env, root), declared_here(root)

    async def work(transport: Transport) -> int:
        value = await _parsed(transport, name, text, here)
        client = await Client.over(transport, Settings(env=server.env))
        try:
            await client.set_var(name, value, declared=here.variables)
        finally:
            await client.close()
        shown = msgspec.to_builtins(value)
        answer = VariableChanged(variable=name, env=server.env, action="set", value=shown)
        return _show(answer, f"{name} = {_json(shown)}", as_json)

    return with_transport(server, work)


async def _parsed(transport: Transport, name: str, text: str, here: DeclaredHere) -> Any:
    declared = await read_declared(transport, here.variables)
    if name not in declared:
        raise InputError(unknown(name, declared), help=here.hint)
    return parse_argument(name, text, declared[name][0].variable.type, Path())


def unset_variable(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    server = server_of(url, env, find_root(None))

    async def work(client: Client) -> int:
        await client.unset_var(name)
        value = next((one.value for one in await client.vars() if one.name == name), None)
        answer = VariableChanged(variable=name, env=server.env, action="unset", value=value)
        return _show(answer, f"{name} is unset", as_json)

    return with_client(server, work)


def get_variable(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    async def work(client: Client) -> int:
        entry = entry_of(await client.var(name))
        if as_json:
            say(msgspec.json.encode(entry))
        elif entry.state == "missing":
            say(f"{name} is not set, and has no default: `flowc var set {name} VALUE`", err=True)
        else:
            say(_json(entry.value))
        return EXIT_FAILED if entry.state == "missing" else EXIT_OK

    return with_client(server_of(url, env, find_root(None)), work)


def list_variables(url: str | None, env: str | None, as_json: bool) -> int:
    server = server_of(url, env, find_root(None))

    async def work(client: Client) -> int:
        found = variables_of(server.env, await client.vars())
        if as_json:
            say(msgspec.json.encode(found))
        else:
            _table(found)
        return EXIT_OK

    return with_client(server, work)


def _table(found: Variables) -> None:
    if not found.variables:
        say(f"no flow that is deployed in {found.env} reads variables")
        return
    rows = (
        (
            one.name,
            one.type or "(not declared)",
            "(missing)" if one.state == "missing" else _short(_json(one.value)),
            f"{ago(one.at.timestamp())} by {one.by}" if one.at is not None and one.state == "set" else one.state,
            ", ".join(one.declared_by),
        )
        for one in found.variables
    )
    print_table(("VARIABLE", "TYPE", "VALUE", "SET", "PROJECTS"), rows)


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _show(answer: msgspec.Struct, text: str, as_json: bool) -> int:
    say(msgspec.json.encode(answer) if as_json else text)
    return EXIT_OK
