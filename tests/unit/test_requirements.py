"""What a deployment needs and is not there: told before it is deployed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from flowc.plan import ConnectionDef
from flowc.types import INT
from flowrun.connections import ConnectionStore
from flowrun.manifest import Manifest, Variable
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Presence, pack
from flowrun.requirements import Problem, missing
from flowrun.secrets import Key, KeyRing, Resolver, SealedStore
from flowrun.secrets.asking import answer_questions, ask_nodes
from flowrun.secrets.sources import Environment
from flowrun.variables import VariableStore

LIMIT = Variable(name="limit", type=INT)
DB = ConnectionDef(name="db", kind="postgres", fields=(("host", ["lit", "a"]), ("password", ["secret", "db"])))


class Nodes:
    """Workers that say that they live, and answer questions with the secrets that they have."""

    def __init__(self, server: MemoryServer, *having: Mapping[str, str] | None) -> None:
        self._server, self._having = server, having

    async def __aenter__(self) -> Nodes:
        self._tasks = [
            asyncio.create_task(work)
            for number, secrets in enumerate(self._having)
            for work in self._node(f"node-{number}", number, secrets)
        ]
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _node(self, name: str, pid: int, secrets: Mapping[str, str] | None) -> list[Any]:
        """`secrets` None: it lives, and does not answer."""
        transport = MemoryTransport(self._server)
        named = {f"FLOW_SECRET_{key.upper()}": value for key, value in (secrets or {}).items()}
        answering = answer_questions(transport, Resolver([Environment(named)]), name, pid)
        present = self._present(transport, Presence(name, "nodes", "here", pid, 0, capacity={"default": 1}))
        if secrets is None:
            answering.close()
            return [present]
        return [present, answering]

    async def _present(self, transport: MemoryTransport, note: Presence) -> None:
        while True:
            await transport.notify("presence", note.node, pack(note))
            await asyncio.sleep(1)


def found(
    manifest: Manifest,
    *having: Mapping[str, str] | None,
    before: Callable[[MemoryTransport], Awaitable[None]] | None = None,
    resolver: Resolver | None = None,
) -> list[Problem]:
    server = MemoryServer()

    async def main() -> list[Problem]:
        transport = MemoryTransport(server)
        if before is not None:
            await before(transport)
        async with Nodes(server, *having):
            return await missing(transport, manifest, resolver=resolver)

    return run_virtual(main())


def needs(*secrets: str, **more: Any) -> Manifest:
    return Manifest(project="shop", flows=(), secrets=secrets, **more)


def test_nothing_is_needed() -> None:
    assert found(needs()) == []


def test_a_variable_without_value_and_default() -> None:
    default = Variable(name="rate", type=INT, default=["lit", 1])
    (problem,) = found(needs(variables=(LIMIT, default)))
    assert (problem.kind, problem.name, problem.sure) == ("variable", "limit", True)
    assert "`limit: int` is not set" in problem.message
    assert "flowc var set limit VALUE" in problem.message


def test_a_variable_that_is_set_or_set_wrongly_or_unset() -> None:
    def put(*data: bytes | None) -> Callable[[MemoryTransport], Awaitable[None]]:
        async def before(transport: MemoryTransport) -> None:
            for one in data:
                await VariableStore(transport).set("limit", one, "ada")

        return before

    assert found(needs(variables=(LIMIT,)), before=put(b"\x05")) == []
    (problem,) = found(needs(variables=(LIMIT,)), before=put(b"\xa1x"))
    assert "is set to what is no int" in problem.message
    (problem,) = found(needs(variables=(LIMIT,)), before=put(b"\x05", None))
    assert "is not set" in problem.message


def test_a_secret_that_all_some_or_no_nodes_have() -> None:
    assert found(needs("a"), {"a": "1"}, {"a": "1"}) == []
    (problem,) = found(needs("a"), {"a": "1"}, {"b": "1"})
    assert not problem.sure
    assert "not all nodes can resolve `a` (node-1)" in problem.message
    (problem,) = found(needs("a"), {"b": "1"}, {})
    assert problem.sure
    assert (
        "no node can resolve `a`: there is no secret `a`: set the environment variable FLOW_SECRET_A" in problem.message
    )


def test_a_node_that_lives_and_does_not_answer_is_not_waited_for_for_ever() -> None:
    assert found(needs("a"), {"a": "1"}, None) == []


def test_without_nodes_what_the_server_keeps_is_there_and_the_rest_cannot_be_told() -> None:
    async def before(transport: MemoryTransport) -> None:
        await SealedStore(transport, KeyRing((Key.new(),))).set("a", "value", "")

    (problem,) = found(needs("a", "b", "no name"), before=before)[:1]
    assert (problem.name, problem.sure) == ("b", False)
    assert "no node lives" in problem.message
    here = Resolver([Environment({"FLOW_SECRET_B": "x"})])
    assert [one.name for one in found(needs("a", "b", "c"), before=before, resolver=here)] == ["c"]


def test_connections_with_what_the_environment_sets() -> None:
    (field, secret) = found(needs("db", connections=(DB,)), {})
    assert (field.kind, secret.kind) == ("connection", "secret")
    assert "connection `db` (postgres) has no `database: string`" in field.message
    assert "flowc connection set db database=VALUE" in field.message

    async def before(transport: MemoryTransport) -> None:
        await ConnectionStore(transport).set(DB, {"database": "x", "user": "secret(who)"}, "")

    (problem,) = found(needs("db", connections=(DB,)), {"db": "1"}, before=before)
    assert (problem.kind, problem.name) == ("secret", "who")
    assert found(needs("db", connections=(DB,)), {"db": "1", "who": "2"}, before=before) == []


def test_a_secret_that_the_environment_replaces_is_not_needed() -> None:
    async def before(transport: MemoryTransport) -> None:
        await ConnectionStore(transport).set(DB, {"database": "x", "password": "secret(prod)"}, "")

    assert found(needs("db", connections=(DB,)), {"prod": "1"}, before=before) == []


def test_an_environment_that_sets_a_field_that_is_gone() -> None:
    async def before(transport: MemoryTransport) -> None:
        old = ConnectionDef(name="x", kind="own", fields=(("a", ["lit", 1]),))
        await ConnectionStore(transport).set(old, {"a": "2"}, "")

    now = ConnectionDef(name="x", kind="own", fields=(("b", ["lit", 1]),))
    (problem,) = found(needs(connections=(now,)), before=before)
    assert not problem.sure
    assert "sets the field `a` of connection `x`" in problem.message


def test_an_entry_that_cannot_be_read() -> None:
    async def before(transport: MemoryTransport) -> None:
        await transport.write_entry("connection.db", b"\x01")

    problems = found(needs(connections=(DB,)), before=before)
    assert "cannot be read" in problems[0].message


def test_no_value_leaves_a_node() -> None:
    server = MemoryServer()

    async def main() -> None:
        transport, heard = MemoryTransport(server), list[bytes]()

        async def listen() -> None:
            async for data in await transport.listen("has", "*"):
                heard.append(data)

        listening = asyncio.create_task(listen())
        async with Nodes(server, {"a": "hunter2-value"}):
            (answer,) = await ask_nodes(transport, ["a", "b"])
        assert (answer.node, answer.found, set(answer.missing)) == ("node-0", ("a",), {"b"})
        assert heard
        assert not any(b"hunter2" in data for data in heard)
        listening.cancel()

    run_virtual(main())
