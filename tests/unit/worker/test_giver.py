"""What a bundle needs beside itself, and how an executor is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flowc import plan as p
from flowrun.connections import ConnectionSettings, ConnectionStore
from flowrun.errors import TransportError
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import Bundle, Then, WorkItem
from flowrun.secrets import Resolver
from flowrun.secrets.sources import Environment
from flowrun.worker.connections import connect_all
from flowrun.worker.failures import TaskFailed
from flowrun.worker.frames import Given
from flowrun.worker.given import Told
from flowrun.worker.giver import Giver, Needs

from tests.unit.engine import builders as b
from tests.unit.worker.harness import worker

TASKS = """
import os

def environment() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(("FLOW_", "MINE")))
"""
DB = p.ConnectionDef(name="db", kind="http", fields=(("url", ["lit", "http://a"]), ("token", ["secret", "token"])))


def step(name: str, *args: tuple[str, p.Expr], task: int = 0) -> p.TaskNode:
    return p.TaskNode(name=name, task=task, args=args, settings=0)


def plan(*nodes: Any, **more: Any) -> p.Plan:
    made = b.flow(*nodes, **more)
    tasks = (made.tasks[0], p.TaskDef(name="uses", params=(), returns=0, operator="python", uses=(0,)))
    return p.Plan(**{**{f: getattr(made, f) for f in made.__struct_fields__}, "tasks": tasks, "connections": (DB,)})


#: 1 plain, 2 with a secret, 3 with a connection, 4 an each over tasks with a secret
PLAN = plan(
    step("plain"), step("key", ("a", ["secret", "key"])), step("db", task=1), b.each(1, ["lit", [1]], simple=True),
    blocks=(b.block(step("inner", ("a", ["secret", "inner"])), params=1, result=1),),
)  # fmt: skip


def bundle(*nodes: int, then: tuple[int, ...] = (), flow: str = "") -> Bundle:
    items = tuple(
        WorkItem("r", 0, flow, 0, 0, node, 1, (), first=0 if node == 4 else -1, last=1 if node == 4 else -1,
                 then=tuple(Then(one, ()) for one in then))
        for node in nodes
    )  # fmt: skip
    return Bundle("b", "0", "default", ("plan",), items)


async def giver(**environment: str) -> Giver:
    named = {f"FLOW_SECRET_{name}": value for name, value in environment.items()}
    transport = MemoryTransport(MemoryServer())
    return Giver(Resolver([Environment(named)]), ConnectionSettings(transport))


@pytest.mark.parametrize(
    ("work", "secrets", "connections"),
    [
        (bundle(2), {"key"}, set()),
        (bundle(3), {"token"}, {"db"}),
        (bundle(1, then=(2, 3)), {"key", "token"}, {"db"}),
        (bundle(4), {"inner"}, set()),
        (bundle(1, 2), {"key"}, set()),
    ],
)
async def test_what_a_bundle_needs(work: Bundle, secrets: set[str], connections: set[str]) -> None:
    found = (await giver()).needs(work, {"plan": PLAN})
    assert found == Needs(frozenset(secrets), frozenset(connections))


async def test_most_need_nothing() -> None:
    assert (await giver()).needs(bundle(1, 1), {"plan": PLAN}) is None
    assert (await giver()).needs(bundle(1), {"plan": b.flow(b.task("a"))}) is None


async def test_steps_of_child_flows_count() -> None:
    outer = b.flow(b.task("a"), children={"child": PLAN})
    found = (await giver()).needs(bundle(2, flow="child"), {"plan": outer})
    assert found == Needs(frozenset({"key"}), frozenset())


async def test_values_and_what_is_missing_are_told() -> None:
    given = await (await giver(KEY="hunter2-key")).get(Needs(frozenset({"key", "gone"}), frozenset()))
    told = Told()
    told.take(given)
    assert told.secret("key") == "hunter2-key"
    with pytest.raises(TaskFailed, match="there is no secret `gone`") as caught:
        told.secret("gone")
    assert (caught.value.failure.type, caught.value.failure.retryable) == ("NotFound", False)


async def test_a_source_that_is_away_may_be_asked_by_another_attempt() -> None:
    class Away:
        async def get(self, key: str) -> str | None:
            raise TransportError("away")

        def how(self, key: str) -> str:
            return ""

    found = Giver(Resolver([Away()]), ConnectionSettings(MemoryTransport(MemoryServer())))
    told = Told()
    told.take(await found.get(Needs(frozenset({"key"}), frozenset())))
    with pytest.raises(TaskFailed) as caught:
        told.secret("key")
    assert (caught.value.failure.type, caught.value.failure.retryable) == ("SecretError", True)


async def test_the_environment_s_fields_win_and_may_name_other_secrets() -> None:
    transport = MemoryTransport(MemoryServer())
    await ConnectionStore(transport).set(DB, {"url": "http://b", "token": "secret(other)"}, "ada")
    resolver = Resolver([Environment({"FLOW_SECRET_OTHER": "hunter2-other", "FLOW_SECRET_TOKEN": "x"})])
    given = await Giver(resolver, ConnectionSettings(transport)).get(Needs(frozenset({"token"}), frozenset({"db"})))
    told = Told()
    told.take(given)
    assert connect_all([DB], told)["db"].fields == {"url": "http://b", "token": "hunter2-other"}


async def test_an_entry_that_cannot_be_read_fails_the_task() -> None:
    transport = MemoryTransport(MemoryServer())
    await transport.write_entry("connection.db", b"\x01")
    given = await Giver(Resolver([]), ConnectionSettings(transport)).get(Needs(frozenset(), frozenset({"db"})))
    told = Told()
    told.take(given)
    with pytest.raises(TaskFailed, match="the connection `db` cannot be used"):
        connect_all([DB], told)


def test_the_last_value_counts() -> None:
    told = Told()
    told.take(Given(secrets={"a": "one"}))
    told.take(Given(missing={"a": ("gone", False)}))
    with pytest.raises(TaskFailed, match="gone"):
        told.secret("a")
    told.take(Given(secrets={"a": "two"}))
    assert told.secret("a") == "two"
    with pytest.raises(TaskFailed, match="was not given"):
        told.secret("b")


def test_a_frame_does_not_show_its_values() -> None:
    assert "one" not in repr(Given(secrets={"a": "one"}))


async def test_tasks_see_neither_keys_nor_secrets_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FLOW_KEY", "FLOW_KEY_FILE", "FLOW_SECRET_OTHER", "FLOW_VAULT_SECRET_ID", "MINE"):
        monkeypatch.setenv(name, "x")
    async with worker(tmp_path, TASKS) as running:
        assert running.value(await running.call("tasks:environment")) == ["MINE"]
