"""Three environments on one server, each with a node of its own: what is deployed in one is nothing to the others."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from flowc.plan import PoolDef, ValueNode
from flowrun.deployments.building import Built, build
from flowrun.deployments.reading import read_deployed
from flowrun.errors import StoreError
from flowrun.nats.transport import NatsTransport
from flowrun.parameters import ArgumentError
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings

from tests.support.node import Node
from tests.support.plans import ANY, flow_plan
from tests.unit.deployments.builders import change, deploy

ENVIRONMENTS = {"dev": 1, "staging": 2, "production": 3}


def shop(number: int) -> Built:
    """Its flow gives the number, and its pool has as many slots."""
    plan = flow_plan((ValueNode(name="said", value=["lit", number], type=ANY),), ())
    return build("shop", [msgspec.structs.replace(plan, flow="say")], pools=[PoolDef(name="db", slots=number)])


async def test_they_never_touch_each_other(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server, AsyncExitStack() as stack:
        nodes: dict[str, Node] = {}
        transports: dict[str, NatsTransport] = {}
        for env in ENVIRONMENTS:

            async def connect(env: str = env) -> NatsTransport:
                return await NatsTransport.connect(server.url, Settings(env=env))

            nodes[env] = await stack.enter_async_context(Node(connect, settings=Settings(env=env)))
            transports[env] = await connect()
            stack.push_async_callback(transports[env].close)
        for env, number in ENVIRONMENTS.items():
            await deploy(transports[env], shop(number), env=env)

        async def follows(env: str, slots: int | None) -> None:
            quotas = nodes[env].coordinator._engine.quotas
            async with asyncio.timeout(8):
                while (found := quotas.deployed("pool/db")) is None or found.limit != slots:
                    if found is None and slots is None:
                        return
                    await asyncio.sleep(0.02)

        for env, number in ENVIRONMENTS.items():
            await follows(env, number)
            run = await nodes[env].client.submit("say")
            assert await run.result() == number
        await change(transports["staging"], "shop", "undeploy", "")
        await follows("staging", None)
        with pytest.raises(ArgumentError, match="no flow `say` is deployed in the environment `staging`"):
            await nodes["staging"].client.submit("say")
        for env in ("dev", "production"):
            await follows(env, ENVIRONMENTS[env])
            assert set(await read_deployed(transports[env])) == {"shop"}
        # not even a stored plan is shared
        with pytest.raises(StoreError):
            await transports["dev"].get_blob(shop(3).digest)
