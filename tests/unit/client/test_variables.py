"""Variables of an environment: typed by what is deployed, seen by runs that begin later, and never half-set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc.plan import Plan
from flowc.types import INT, STRING, ListOf, Literals
from flowrun.client import Client
from flowrun.errors import FlowError
from flowrun.manifest import Manifest, Variable
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import SetVar, unpack_events
from flowrun.parameters import ArgumentError
from flowrun.variables import VariableStore

from tests.support.deployed import deploy
from tests.support.node import Node
from tests.support.project import compiled

LIMIT = Variable(name="limit", type=INT, default=["lit", 5])
REGION = Variable(name="region", type=Literals(("eu", "us")))
NAMES = Variable(name="names", type=ListOf(STRING), default=["list", ["lit", "a"]])


def project(*variables: Variable, name: str = "shop") -> Manifest:
    return Manifest(project=name, flows=(), variables=variables)


def story(of: Callable[[Client, MemoryTransport], Awaitable[None]], *manifests: Manifest) -> None:
    """On a server that has these deployed, and nobody leads."""

    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        for manifest in manifests or (project(LIMIT, REGION, NAMES),):
            await deploy(transport, manifest)
        client = await Client.over(transport)
        try:
            await of(client, transport)
        finally:
            await client.close()

    run_virtual(main())


async def told(transport: MemoryTransport, partition: str) -> list[SetVar]:
    inbox = await transport.inbox(partition)
    records = [await transport.read_one(partition, seq) for seq in range(1, inbox.last_seq + 1)]
    return [event for one in records if one for event in unpack_events(one.data) if isinstance(event, SetVar)]


def test_a_variable_is_set_read_and_unset() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        assert (await client.get_var("limit"), await client.get_var("names")) == (5, ["a"])
        assert await client.get_var("region") is None
        await client.set_var("limit", 7, by="ada")
        await client.set_var("region", "us")
        assert await client.get_var("limit") == 7
        limit, names, region = await client.vars()
        assert (limit.name, limit.type, limit.value, limit.is_set, limit.by) == ("limit", "int", 7, True, "ada")
        assert (names.is_set, names.has_value, names.declared_by) == (False, True, ("shop",))
        assert region.value == "us"
        await client.unset_var("limit")
        assert await client.get_var("limit") == 5
        with pytest.raises(ArgumentError, match="`limit` is not set"):
            await client.unset_var("limit")

    story(of)


def test_every_partition_is_told_with_the_same_version() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        await client.set_var("limit", 7)
        await client.set_var("limit", 8)
        for partition in map(str, range(8)):
            first, second = await told(transport, partition)
            assert (first.value, second.value) == (b"\x07", b"\x08")
            assert 0 < first.version < second.version

    story(of)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("limit", "many", "variable `limit` is declared as int by project `shop`"),
        ("limit", None, "declared as int"),
        ("limit", 1.5, "declared as int"),
        ("region", "asia", 'declared as "eu" | "us" by project `shop`'),
        ("names", ["a", 1], r"declared as list<string> by project `shop`: `names\[1\]`"),
        ("names", ["x" * 40_000], "at most 32,768 are kept"),
        ("limits", 1, "did you mean `limit`"),
        ("zzz", 1, "there are `limit`, `names`, `region`"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(name: str, value: Any, why: str) -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        with pytest.raises(ArgumentError, match=why.replace("|", r"\|")):
            await client.set_var(name, value)
        assert await transport.entries("var") == []

    story(of)


def test_a_name_that_two_projects_declare_must_fit_both() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        with pytest.raises(ArgumentError, match="declared as string by project `other`"):
            await client.set_var("limit", 7)
        (info,) = await client.vars()
        assert (info.type, info.declared_by) == ("string & int", ("other", "shop"))

    story(of, project(LIMIT), project(Variable(name="limit", type=STRING), name="other"))


def test_a_declaration_that_is_not_deployed_yet_may_count() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        new = Variable(name="new", type=INT)
        with pytest.raises(ArgumentError, match="by the project in this folder"):
            await client.set_var("new", "x", declared=[new])
        await client.set_var("new", 1, declared=[new])
        (info,) = [one for one in await client.vars() if one.name == "new"]
        assert (info.value, info.type, info.declared_by) == (1, "", ())

    story(of)


def test_those_who_set_it_at_once_agree_on_the_last() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        await asyncio.gather(*(client.set_var("limit", i) for i in range(5)))
        value = await client.get_var("limit")
        last = max(await told(transport, "3"), key=lambda event: event.version)
        assert last.value is not None
        assert msgspec.msgpack.decode(last.value) == value

    story(of)


def test_an_entry_that_cannot_be_read_is_told() -> None:
    async def of(client: Client, transport: MemoryTransport) -> None:
        await transport.write_entry("var.limit", b"\x01")
        with pytest.raises(FlowError, match="set the variable anew"):
            await client.vars()

    story(of)


FLOW = """
var limit: int = 5
var region: string

flow child() returns int { return limit }
flow main() returns json { return { limit: limit, region: region, child: child() } }
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return compiled(tmp_path, FLOW)


async def result(node: Node, plan: Plan) -> Any:
    return await node.client.result(await node.client.submit(plan))


def test_runs_see_what_was_set_before_they_began(plan: Plan) -> None:
    async def main() -> None:
        server = MemoryServer()

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        await deploy(await connect(), project(LIMIT, Variable(name="region", type=STRING)))
        async with Node(connect) as node:
            record = await node.client.wait(await node.client.submit(plan))
            assert record.error is not None
            assert "variable `region` is not set" in record.error.message
            await node.client.set_var("region", "eu")
            assert await result(node, plan) == {"limit": 5, "region": "eu", "child": 5}
            await node.client.set_var("limit", 6)
            assert await result(node, plan) == {"limit": 6, "region": "eu", "child": 6}

    run_virtual(main())


@pytest.mark.parametrize("before", [True, False])
def test_a_leader_learns_what_nobody_told_its_partition(plan: Plan, before: bool) -> None:
    """Whoever set it died after the entry; or the partition came later."""

    async def main() -> None:
        server = MemoryServer()

        async def connect() -> MemoryTransport:
            return MemoryTransport(server)

        store = VariableStore(await connect())
        if before:
            await store.set("region", b"\xa2eu", "ada")
        async with Node(connect) as node:
            if not before:
                await store.set("region", b"\xa2eu", "ada")
            await asyncio.sleep(0.5)
            assert await result(node, plan) == {"limit": 5, "region": "eu", "child": 5}
            await asyncio.sleep(60)
            events = await told(await connect(), "0")
            assert len(events) == 1

    run_virtual(main())
