"""Fields of connections: typed by their kind or by what is declared; secrets are named, never written out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flowc.plan import ConnectionDef, Expr
from flowrun.connections import (
    ConnectionProblem,
    ConnectionSettings,
    ConnectionStore,
    configured,
    missing_fields,
    overridden,
    parse_field,
    shown_value,
)
from flowrun.memory import MemoryServer, MemoryTransport

from tests.unit.engine import builders as b

DB = ConnectionDef(
    name="db", kind="postgres", fields=(("host", ["lit", "a"]), ("port", ["lit", 1]), ("password", ["secret", "db"]))
)
OWN = ConnectionDef(
    name="own", kind="crm", fields=(("seats", ["lit", 3]), ("live", ["lit", True]), ("token", ["secret", "t"]))
)


@pytest.mark.parametrize(
    ("of", "field", "given", "value"),
    [
        (DB, "host", "b.example", ["lit", "b.example"]),
        (DB, "port", "5433", ["lit", 5433]),
        (DB, "database", "shop", ["lit", "shop"]),
        (DB, "password", "secret(other)", ["secret", "other"]),
        (DB, "user", 'secret("who")', ["secret", "who"]),
        (OWN, "seats", "4", ["lit", 4]),
        (OWN, "live", "false", ["lit", False]),
    ],
)
def test_what_somebody_types(of: ConnectionDef, field: str, given: str, value: Expr) -> None:
    assert parse_field(of, field, given) == value


@pytest.mark.parametrize(
    ("of", "field", "given", "why"),
    [
        (DB, "prot", "1", "has no field `prot`: did you mean `port`?"),
        (DB, "colour", "1", "it has `host`, `port`, `password`"),
        (DB, "port", "many", "takes an int"),
        (DB, "password", "hunter2", "is a secret, and is not written out: set it with `flowc secret set KEY`"),
        (DB, "password", "secret()", "names no secret"),
        (OWN, "token", "hunter2", "is a secret"),
        (OWN, "seats", "x", "takes an int"),
        (OWN, "sets", "1", "did you mean `seats`"),
    ],
)
def test_what_is_refused(of: ConnectionDef, field: str, given: str, why: str) -> None:
    with pytest.raises(ConnectionProblem, match=why.replace("(", r"\(").replace("?", r"\?")) as caught:
        parse_field(of, field, given)
    assert "hunter2" not in str(caught.value)


def test_fields_of_a_configuration_file() -> None:
    found = overridden(DB, {"host": "b", "port": 7, "password": {"secret": "prod"}})
    assert dict(found.fields) == {"host": ["lit", "b"], "port": ["lit", 7], "password": ["secret", "prod"]}
    for fields in ({"port": "x"}, {"prot": 1}, {"password": "x"}, {"host": {"secret": ""}}):
        with pytest.raises(ConnectionProblem):
            overridden(DB, fields)


def test_a_plan_for_an_environment() -> None:
    child = msgspec.structs.replace(b.flow(b.task("x")), connections=(DB,))
    plan = msgspec.structs.replace(b.flow(b.task("x")), connections=(OWN, DB), children={"child": child})
    found = configured(plan, {"db": {"host": "b"}})
    assert [dict(part.connections[-1].fields)["host"] for part in (found, found.children["child"])] == [
        ["lit", "b"]
    ] * 2
    assert found.connections[0] == OWN
    assert configured(plan, {}) is plan
    with pytest.raises(ConnectionProblem, match="a table of fields"):
        configured(plan, {"db": "b"})


def test_what_its_kind_needs() -> None:
    assert missing_fields(DB, dict(DB.fields)) == ["database: string"]
    assert missing_fields(OWN, {}) == []


@pytest.mark.parametrize(("value", "shown"), [(["secret", "k"], "secret(k)"), (["lit", 3], "3"), (["list"], "…")])
def test_how_a_value_is_shown(value: Expr, shown: str) -> None:
    assert shown_value(value) == shown


async def test_an_environment_sets_and_unsets_fields() -> None:
    store = ConnectionStore(MemoryTransport(MemoryServer()))
    await store.set(DB, {"host": "b", "port": "2"}, "ada")
    await store.set(DB, {"port": "3"}, "ada")
    assert await store.get("db") == {"host": ["lit", "b"], "port": ["lit", 3]}
    assert await store.all() == {"db": {"host": ["lit", "b"], "port": ["lit", 3]}}
    await store.unset("db", ("port",), "ada")
    assert await store.get("db") == {"host": ["lit", "b"]}
    with pytest.raises(ConnectionProblem, match="does not set `port`"):
        await store.unset("db", ("port",), "ada")
    await store.unset("db", (), "ada")
    assert await store.get("db") == {}


async def test_all_fields_are_set_or_none() -> None:
    store = ConnectionStore(MemoryTransport(MemoryServer()))
    with pytest.raises(ConnectionProblem):
        await store.set(DB, {"host": "b", "port": "x"}, "ada")
    assert await store.get("db") == {}


async def test_settings_are_read_again_after_a_while() -> None:
    transport, now = MemoryTransport(MemoryServer()), [100.0]
    settings, store = ConnectionSettings(transport, lambda: now[0]), ConnectionStore(transport)
    assert await settings.get("db") == {}
    await store.set(DB, {"host": "b"}, "")
    assert await settings.get("db") == {}
    now[0] += 30
    assert await settings.get("db") == {"host": ["lit", "b"]}


@pytest.mark.parametrize("data", [b"\x01", b"\x94\x63\x80\x00\xa0"])
async def test_an_entry_that_cannot_be_read(data: bytes) -> None:
    transport: Any = MemoryTransport(MemoryServer())
    await transport.write_entry("connection.db", data)
    with pytest.raises(ConnectionProblem, match=r"cannot be read|newer version"):
        await ConnectionStore(transport).get("db")
