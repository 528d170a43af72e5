"""The NATS transport on three servers that replicate: the port's promises, and a server that dies."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from flowrun.nats.transport import NatsTransport

from tests.support.cluster import Cluster
from tests.unit.transport_conformance import CHECKS, SETTINGS, Check

pytestmark = pytest.mark.asyncio(loop_scope="module")

_environments = count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster(Path(folder)) as cluster:
            yield cluster


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check: Check, cluster: Cluster) -> None:
    settings = replace(SETTINGS, env=f"test{next(_environments)}", replicas=3)
    connections: list[NatsTransport] = []

    async def connect() -> NatsTransport:
        connections.append(await NatsTransport.connect(cluster.url, settings))
        return connections[-1]

    try:
        await check(connect)
    finally:
        for connection in connections:
            await connection.close()
