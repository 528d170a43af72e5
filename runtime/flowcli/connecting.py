"""What `flowc connection` does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from flowc.plan import ConnectionDef, Expr
from flowrun import expr
from flowrun.client.world import user_name
from flowrun.connecting import try_connection
from flowrun.connections import ConnectionProblem, ConnectionStore, missing_fields, shown_value
from flowrun.deployments.reading import read_deployed
from flowrun.operator import Connection
from flowrun.secrets import Resolver
from flowrun.transport import Transport
from flowrun.worker.mask import process_mask

from .connection_answers import ConnectionField, ConnectionInfo, Connections, ConnectionTried
from .declared import declared_here
from .errors import EXIT_FAILED, EXIT_OK, InputError
from .looking import print_table
from .output import say
from .remote import with_transport
from .server import ServerChoice, profile_of, server_of
from .targets import find_root

__all__ = ["list_connections", "set_connection", "show_connection", "test_connection", "unset_connection"]


class _Known(NamedTuple):
    """A declaration, and the projects that have one of that name."""

    definition: ConnectionDef
    projects: tuple[str, ...]


async def _declared(transport: Transport, here: tuple[ConnectionDef, ...]) -> dict[str, _Known]:
    """By name: what is deployed, then what is declared in this folder."""
    found: dict[str, _Known] = {}
    for project, deployed in sorted((await read_deployed(transport)).items()):
        for one in deployed.manifest.connections:
            known = found.get(one.name)
            found[one.name] = _Known(one, (*(known.projects if known else ()), project))
    for one in here:
        if one.name not in found:
            found[one.name] = _Known(one, ("",))
    return dict(sorted(found.items()))


def _one(known: Mapping[str, _Known], name: str, env: str, hint: str) -> _Known:
    """Raises InputError."""
    if name in known:
        return known[name]
    close = get_close_matches(name, known, 1)
    there = ", ".join(f"`{one}`" for one in known)
    help = f"did you mean `{close[0]}`?" if close else f"there are {there}" if known else hint
    raise InputError(f"no flow that is deployed in `{env}` declares a connection `{name}`", help=help)


def _info(server: ServerChoice, known: _Known, settings: Mapping[str, Expr]) -> ConnectionInfo:
    definition = known.definition
    fields = {**dict(definition.fields), **settings}
    return ConnectionInfo(
        connection=definition.name,
        kind=definition.kind,
        env=server.env,
        fields=tuple(
            ConnectionField(name=name, value=shown_value(value), source="environment" if name in settings else "file")
            for name, value in fields.items()
        ),
        missing=tuple(missing_fields(definition, fields)),
        declared_by=known.projects,
    )


# ---- commands -------------------------------------------------------------------------------------------------------


def list_connections(url: str | None, env: str | None, as_json: bool) -> int:
    """Gives the exit code. Raises InputError, FlowError, as all below."""
    root = find_root(None)
    server, here = server_of(url, env, root), declared_here(root)

    async def work(transport: Transport) -> int:
        known, settings = await _declared(transport, here.connections), await ConnectionStore(transport).all()
        infos = tuple(_info(server, one, settings.get(name, {})) for name, one in known.items())
        if as_json:
            say(msgspec.json.encode(Connections(env=server.env, connections=infos)))
        elif infos:
            print_table(("CONNECTION", "KIND", "FIELDS", "PROJECTS"), map(_row, infos))
        else:
            say(f"no flow that is deployed in {server.env} declares connections")
        return EXIT_OK

    return with_transport(server, work)


def _row(info: ConnectionInfo) -> tuple[str, ...]:
    fields = [f"{one.name}={one.value}" + (" (set)" if one.source == "environment" else "") for one in info.fields]
    fields += [f"{one.partition(':')[0]} (missing)" for one in info.missing]
    return info.connection, info.kind, ", ".join(fields), ", ".join(one or "(here)" for one in info.declared_by)


def show_connection(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    async def nothing(store: ConnectionStore, definition: ConnectionDef) -> None:
        """It is only shown."""

    return _with(name, nothing, url, env, as_json)


def set_connection(name: str, fields: tuple[str, ...], url: str | None, env: str | None, as_json: bool) -> int:
    given: dict[str, str] = {}
    for one in fields:
        field, equals, text = one.partition("=")
        if not equals:
            raise InputError(f"`{one}` has no value", help="write FIELD=VALUE")
        given[field] = text

    async def change(store: ConnectionStore, definition: ConnectionDef) -> None:
        await store.set(definition, given, user_name())

    return _with(name, change, url, env, as_json)


def unset_connection(name: str, fields: tuple[str, ...], url: str | None, env: str | None, as_json: bool) -> int:
    async def change(store: ConnectionStore, definition: ConnectionDef) -> None:
        await store.unset(name, fields, user_name())

    return _with(name, change, url, env, as_json)


def _with(
    name: str, change: Callable[[ConnectionStore, ConnectionDef], Awaitable[None]], url: str | None, env: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Changes a connection, and shows it."""
    root = find_root(None)
    server, here = server_of(url, env, root), declared_here(root)

    async def work(transport: Transport) -> int:
        known, store = (
            _one(await _declared(transport, here.connections), name, server.env, here.hint),
            ConnectionStore(transport),
        )
        await change(store, known.definition)
        info = _info(server, known, await store.get(name))
        if as_json:
            say(msgspec.json.encode(info))
        else:
            say(f"{info.connection} ({info.kind})")
            for field in info.fields:
                say(f"  {field.name} = {field.value}" + ("  # set here" if field.source == "environment" else ""))
            for missing in info.missing:
                say(f"  {missing}  # missing")
        return EXIT_OK

    return with_transport(server, work)


def test_connection(name: str, url: str | None, env: str | None, as_json: bool) -> int:
    root = find_root(None)
    server, here = server_of(url, env, root), declared_here(root)
    key_file = profile_of(url, env, root).key_file

    async def work(transport: Transport) -> int:
        definition = _one(await _declared(transport, here.connections), name, server.env, here.hint).definition
        fields = {**dict(definition.fields), **await ConnectionStore(transport).get(name)}
        values = await _values(Resolver.over(transport, key_file), fields)
        connection = Connection(name=name, kind=definition.kind, fields=values)
        ok, message = await asyncio.to_thread(_tried, connection, root)
        answer = ConnectionTried(connection=name, env=server.env, ok=ok, message=process_mask()(message))
        if as_json:
            say(msgspec.json.encode(answer))
        else:
            say(f"{name}: {answer.message}" if ok else f"error: {answer.message}", err=not ok)
        return EXIT_OK if ok else EXIT_FAILED

    return with_transport(server, work)


async def _values(resolver: Resolver, fields: Mapping[str, Expr]) -> dict[str, Any]:
    """Raises SecretError."""
    keys = {value[1] for value in fields.values() if value[0] == "secret"}
    found = {key: await resolver.get(key) for key in sorted(keys)}
    process_mask().learn(found.values())
    return {name: expr.evaluate(value, expr.Env(secret=found.__getitem__)) for name, value in fields.items()}


def _tried(connection: Connection, root: Path) -> tuple[bool, str]:
    try:
        return True, try_connection(connection, root)
    except ConnectionProblem as error:
        return False, str(error)
