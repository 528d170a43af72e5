"""What a node makes of deployments: it follows them at once, if they are whole and its trusted signer made them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from flowc.plan import PoolDef, StepSettings, digest, encode
from flowrun.deployments.building import Built, build
from flowrun.deployments.signing import SigningKey, key_text
from flowrun.manifest import Deployment, encode_manifest
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import QuotaDef
from flowrun.settings import Settings

from tests.support.node import Node
from tests.support.plans import call, flow_plan, task
from tests.unit.deployments.builders import deploy, flow

ADA, EVE = SigningKey.new(), SigningKey.new()
SETTINGS = Settings(trusted=(key_text(ADA.public),))
TASK = "time:monotonic"


def shop(slots: int, name: str = "nightly") -> Built:
    pool = PoolDef(name="db", slots=slots)
    plan = flow(name, TASK, pools=(pool,), settings=(StepSettings(pool=0),))
    return build("shop", [plan], pools=[pool])


class World:
    """A server, and a node with trust."""

    def __init__(self) -> None:
        self.server = MemoryServer(SETTINGS)
        self.node = Node(self.connect, settings=SETTINGS)

    async def connect(self) -> MemoryTransport:
        return MemoryTransport(self.server)

    def slots(self) -> int | None:
        """Of the pool, as the leader has it."""
        found: QuotaDef | None = self.node.coordinator._engine.quotas.deployed("pool/db")
        return found and found.limit

    async def deploy(self, what: Built, key: SigningKey | None = ADA) -> Deployment:
        made = await deploy(MemoryTransport(self.server), what, key=key)
        await asyncio.sleep(6)  # leaders look every few seconds at the latest
        return made

    async def run(self, name: str) -> Any:
        run = await self.node.client.submit(name)
        return await run.wait()


def test_only_what_the_trusted_signer_deploys_is_followed_and_executed() -> None:
    async def main() -> None:
        world = World()
        async with world.node:
            await world.deploy(shop(2))
            assert world.slots() == 2
            assert (await world.run("nightly")).state == "success"
            await world.deploy(shop(9, "nightly2"), EVE)
            await world.deploy(shop(8, "nightly3"), None)
            assert world.slots() == 2
            record = await world.run("nightly3")
            assert (record.state, record.error.type) == ("failed", "Untrusted")
            assert "is not part of a deployment that a trusted signer made" in record.error.message
            # a run of an older deployment of the trusted signer still is executed
            old = await (await world.node.client.submit(shop(2).plans["nightly"])).wait()
            assert old.state == "success"
            other = await (await world.node.client.submit(flow("adhoc"))).wait()
            assert other.error.type == "Untrusted"
            await world.deploy(shop(3))
            assert world.slots() == 3

    run_virtual(main())


@pytest.mark.parametrize("what", ["missing plan", "tampered plan", "missing manifest", "another project's manifest"])
def test_a_deployment_that_is_not_whole_changes_nothing(what: str) -> None:
    async def main() -> None:
        world = World()
        async with world.node:
            await world.deploy(shop(2))
            good = shop(5, "other")
            plan = good.manifest.flows[0].plan
            blobs = dict(good.blobs)
            if what == "missing plan":
                del blobs[plan]
            elif what == "tampered plan":
                blobs[plan] = encode(flow("evil"))
            elif what == "missing manifest":
                del blobs[good.digest]
            else:
                data = encode_manifest(msgspec.structs.replace(good.manifest, project="bank"))
                blobs[digest(data)] = data
                good = msgspec.structs.replace(good, digest=digest(data))
            await world.deploy(msgspec.structs.replace(good, blobs=blobs))
            assert world.slots() == 2
            # and what is deployed whole afterwards, is followed
            await world.deploy(shop(6))
            assert world.slots() == 6

    run_virtual(main())


def test_a_larger_pool_lets_those_go_on_that_wait_for_the_smaller_one() -> None:
    def napping(slots: int) -> Built:
        pool = PoolDef(name="db", slots=slots)
        nap = task("nap", "tests.support.sample_tasks:nap", "a")
        plan = flow_plan(
            (call("nap", 0, (1,)),), (nap,), params=("a",), pools=(pool,), settings=(StepSettings(pool=0),)
        )
        return build("shop", [msgspec.structs.replace(plan, flow="nap")])

    async def main() -> float:
        world = World()
        world.node = Node(world.connect, settings=SETTINGS, slots=8)
        async with world.node:
            await world.deploy(napping(1))
            loop = asyncio.get_running_loop()
            began = loop.time()
            runs = [await world.node.client.submit("nap", {"a": 60}) for _ in range(4)]
            await asyncio.sleep(20)
            await world.deploy(napping(3))
            await asyncio.gather(*(run.wait() for run in runs))
            return loop.time() - began

    # one for the first 20 s or so, then two more beside it, then the last
    assert 120 <= run_virtual(main()) < 160
