"""Submitting deployed flows by their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from flowc.plan import digest, encode
from flowrun.client import Client
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.parameters import ArgumentError

from tests.unit.deployments.builders import built, change, deploy, flow

from .leader import FakeLeader


@asynccontextmanager
async def _client(server: MemoryServer) -> AsyncIterator[tuple[Client, FakeLeader]]:
    leader = FakeLeader(MemoryTransport(server), tuple(map(str, range(8))))
    async with leader:
        client = await Client.over(MemoryTransport(server))
        yield client, leader
        await client.close()


def test_a_name_is_the_plan_that_is_deployed_now() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        old, new = flow("nightly", params=("x",)), flow("nightly", target="tasks:other", params=("x",))
        async with _client(server) as (client, leader):
            await deploy(transport, built("shop", old))
            first = await client.submit("nightly", {"x": 1})
            await deploy(transport, built("shop", new))
            second = await client.submit("nightly", {"x": 2})
            await asyncio.gather(first.wait(), second.wait())
            plans = {submit.run: submit.plan for submit in leader.seen}
            assert plans == {first.id: digest(encode(old)), second.id: digest(encode(new))}
            with pytest.raises(ArgumentError, match="`y`"):
                await client.submit("nightly", {"y": 1})
            await change(transport, "shop", "undeploy", "")
            with pytest.raises(ArgumentError, match="no flow `nightly` is deployed in the environment `dev`"):
                await client.submit("nightly", {"x": 1})

    run_virtual(main())


def test_a_misspelt_name_is_told() -> None:
    async def main() -> None:
        server = MemoryServer()
        async with _client(server) as (client, _):
            await deploy(MemoryTransport(server), built("shop", flow("nightly")))
            with pytest.raises(ArgumentError, match="did you mean `nightly`"):
                await client.submit("nigthly")

    run_virtual(main())


def test_many_runs_by_name() -> None:
    async def main() -> None:
        server = MemoryServer()
        async with _client(server) as (client, leader):
            await deploy(MemoryTransport(server), built("shop", flow("nightly", params=("x",))))
            runs = await client.submit_many("nightly", [{"x": x} for x in range(20)])
            await asyncio.gather(*(run.wait() for run in runs))
            assert len({submit.plan for submit in leader.seen}) == 1
            assert len(leader.seen) == 20

    run_virtual(main())
