"""A deployment happens or does not: of several at once one wins, whatever the network does."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from flowrun.deployments.committing import DeploymentRefused
from flowrun.deployments.reading import read_deployed, read_histories, read_history
from flowrun.errors import TransportError
from flowrun.manifest import Deployment
from flowrun.memory import Faults, MemoryServer, MemoryTransport, run_virtual
from hypothesis import given
from hypothesis import strategies as st

from .builders import built, change, deploy, flow


async def _transport(server: MemoryServer) -> MemoryTransport:
    transport = MemoryTransport(server)
    await transport.open_partition("0")
    return transport


def test_a_history_grows_and_numbers_go_on() -> None:
    async def main() -> None:
        transport = await _transport(MemoryServer())
        first = await deploy(transport, built("shop", flow()))
        second = await deploy(transport, built("shop", flow(target="tasks:other")), by="bob")
        back = await change(transport, "shop", "rollback", first.manifest)
        none = await change(transport, "shop", "undeploy", "")
        history = (await read_history(transport, "shop")).history
        assert history.deployments == (first, second, back, none)
        assert [one.number for one in history.deployments] == [1, 2, 3, 4]
        assert [one.at_ms for one in history.deployments] == sorted({one.at_ms for one in history.deployments})
        assert back.manifest == first.manifest
        assert await read_deployed(transport) == {}

    run_virtual(main())


def test_what_read_an_older_history_is_refused_and_says_who_was_first() -> None:
    async def main() -> None:
        transport = await _transport(MemoryServer())
        read = await read_history(transport, "shop")
        await deploy(transport, built("shop", flow()), by="ada")
        with pytest.raises(DeploymentRefused, match=r"another deployment of `shop` came in between .* by ada"):
            await deploy(transport, built("shop", flow(target="tasks:other")), by="bob", read=read)
        assert [one.by for one in (await read_history(transport, "shop")).history.deployments] == ["ada"]

    run_virtual(main())


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 5),
    delay=st.sampled_from([0.0, 0.05, 2.0]),
    lose=st.sampled_from([0.0, 0.2]),
)
def test_of_deployments_at_once_exactly_one_wins(seed: int, count: int, delay: float, lose: float) -> None:
    async def main() -> None:
        server = MemoryServer(faults=Faults(seed=seed, delay=delay, lose_answer=lose, give_up=0.0))
        first = await _transport(server)
        read = await read_history(first, "shop")

        async def one(number: int) -> Deployment | None:
            try:
                plan = flow(target=f"tasks:work{number}")
                return await deploy(MemoryTransport(server), built("shop", plan), by=f"user{number}", read=read)
            except DeploymentRefused:
                return None

        found = await asyncio.gather(*map(one, range(count)))
        winners = [made for made in found if made is not None]
        assert len(winners) == 1
        assert (await read_history(first, "shop")).history.deployments == (winners[0],)
        deployed = await read_deployed(first)
        assert deployed["shop"].manifest.flows[0].plan in server.blobs

    run_virtual(main())


@given(seed=st.integers(0, 10_000), delay=st.sampled_from([0.0, 0.05, 2.0]))
def test_a_flow_belongs_to_one_project_also_when_two_deploy_it_at_once(seed: int, delay: float) -> None:
    async def main() -> None:
        server = MemoryServer(faults=Faults(seed=seed, delay=delay))
        await _transport(server)

        found = await asyncio.gather(
            *(deploy(MemoryTransport(server), built(name, flow("nightly")), by=name) for name in ("shop", "bank")),
            return_exceptions=True,
        )
        (refused,) = [one for one in found if isinstance(one, DeploymentRefused)]
        assert "flow `nightly` (nightly.flow) is deployed by project" in str(refused)
        assert len(await read_histories(MemoryTransport(server))) == 1

    run_virtual(main())


def test_who_died_while_deploying_is_waited_for_some_seconds_only() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = await _transport(server)
        turn = {"token": "x", "project": "bank", "by": "bob", "at_ms": 0}
        await transport.write_entry("deploying", msgspec.msgpack.encode(turn))
        began = asyncio.get_running_loop().time()
        await deploy(transport, built("shop", flow()))
        assert 5 < asyncio.get_running_loop().time() - began < 20
        began = asyncio.get_running_loop().time()
        await deploy(transport, built("shop", flow(target="tasks:other")))
        assert asyncio.get_running_loop().time() - began < 1

    run_virtual(main())


def test_a_blob_that_cannot_be_stored_leaves_everything_as_it_was() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = await _transport(server)
        made = await deploy(transport, built("shop", flow()))
        server.faults.fail_blob = 1.0
        with pytest.raises(TransportError):
            await deploy(transport, built("shop", flow(target="tasks:other")))
        assert (await read_history(transport, "shop")).history.deployments == (made,)

    run_virtual(main())


def test_a_long_history_forgets_its_oldest_entries() -> None:
    async def main() -> None:
        transport = await _transport(MemoryServer())
        plans = [built("shop", flow(target=f"tasks:{name}")) for name in "ab"]
        for number in range(103):
            await deploy(transport, plans[number % 2])
        numbers = [one.number for one in (await read_history(transport, "shop")).history.deployments]
        assert numbers == list(range(4, 104))

    run_virtual(main())
