"""What was deployed lately outlives the collection of old blobs; what was deployed long ago does not."""

from __future__ import annotations

import asyncio

import pytest
from flowrun.coordinator.collecting import collect
from flowrun.deployments.building import Built
from flowrun.deployments.keeping import KEPT, blobs_of
from flowrun.errors import StoreError
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.settings import Settings

from .builders import built, change, deploy, flow

#: results, and so what nobody refers to, are kept for ten hours
SETTINGS = Settings(keep_results=36_000.0, blob_renewal=60.0)
DAY = 24 * 3600.0


def version(number: int) -> Built:
    return built("shop", flow("nightly", target=f"tasks:v{number}"), flow("same"), code=str(number).encode())


def test_the_last_deployments_can_be_gone_back_to_and_older_ones_are_gone() -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        for number in range(KEPT + 2):
            await deploy(transport, version(number))
        await transport.put_blob("stray", b"nobody needs this")
        collecting = asyncio.create_task(collect(transport, SETTINGS))
        await asyncio.sleep(7 * DAY)
        collecting.cancel()
        assert "stray" not in server.blobs
        for number in range(2, KEPT + 2):
            assert await blobs_of(transport, version(number).digest) == version(number).blobs
        for number in range(2):
            with pytest.raises(StoreError):
                await blobs_of(transport, version(number).digest)
            # … but which plans there were is still known
            assert version(number).digest in server.blobs

    run_virtual(main())


def test_an_undeployed_project_can_be_deployed_again() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer(SETTINGS))
        await transport.open_partition("0")
        await deploy(transport, version(1))
        await change(transport, "shop", "undeploy", "")
        collecting = asyncio.create_task(collect(transport, SETTINGS))
        await asyncio.sleep(3 * DAY)
        collecting.cancel()
        assert await blobs_of(transport, version(1).digest) == version(1).blobs

    run_virtual(main())


def test_a_lost_blob_is_told_and_the_rest_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        what = version(1)
        await deploy(transport, what)
        del server.blobs[what.manifest.code]
        collecting = asyncio.create_task(collect(transport, SETTINGS))
        await asyncio.sleep(2 * DAY)
        collecting.cancel()
        assert all(flow.plan in server.blobs for flow in what.manifest.flows)

    run_virtual(main())
    assert "what a deployment refers to cannot be kept" in caplog.text
