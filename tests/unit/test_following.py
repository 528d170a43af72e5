"""Leaders follow what is deployed: what is new, and trusted, is put into the inbox once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from flowc.plan import IntervalSource, TriggerDef
from flowrun.coordinator.events import Complaints
from flowrun.coordinator.following import Following
from flowrun.engine import Engine
from flowrun.manifest import Deployment, Manifest, decode_history, encode_history, encode_manifest, key_of
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Deployed, unpack_events
from flowrun.settings import Settings

from tests.support.deploying import deploy, deployed_flow
from tests.support.plans import call, flow_plan, task

PLAN = flow_plan((call("only", 0),), (task("only", "m:f"),))
FLOW = deployed_flow(PLAN, TriggerDef(name="t", source=IntervalSource(every_ms=1_000)))


class Here:
    """A partition whose leader follows; its engine hears what is appended."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.transport = MemoryTransport(MemoryServer())
        self.engine = Engine()
        self.seen: list[Any] = []
        self.following = Following(self.transport, "0", self.engine, Complaints(), settings or Settings())

    async def heard(self) -> list[Deployed]:
        """What was put into the inbox since the last time; the engine decides it."""
        inbox = self.transport.server.inbox("0")
        found: list[Any] = [event for seq in range(1, inbox.last_seq + 1) if (record := inbox.find(seq))
                            for event in unpack_events(record.data)]  # fmt: skip
        new = found[len(self.seen) :]
        self.seen = found
        return new


def test_a_deployment_is_put_into_the_inbox_once() -> None:
    async def main() -> None:
        here = Here()
        await here.transport.open_partition("0")
        await deploy(here.transport, FLOW, at_ms=5)
        for _ in range(3):
            await here.following.look()
        (event,) = await here.heard()
        assert (event.project, event.number, event.at_ms) == ("shop", 1, 5)
        await deploy(here.transport, at_ms=6)
        await here.following.look()
        (event,) = await here.heard()
        assert (event.number, event.manifest) == (2, "")

    run_virtual(main())


def test_what_the_engine_knows_is_not_told_again_and_what_it_does_not_is_after_a_while() -> None:
    async def main() -> None:
        here = Here()
        await here.transport.open_partition("0")
        await deploy(here.transport, FLOW, at_ms=5)
        await here.following.look()
        await asyncio.sleep(31)
        await here.following.look()
        assert len(await here.heard()) == 2
        here.engine.triggers.put_project("shop", 1, "", [])
        await asyncio.sleep(31)
        await here.following.look()
        assert await here.heard() == []

    run_virtual(main())


def test_what_cannot_be_used_is_not_told_to_the_engine(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        here = Here()
        await here.transport.open_partition("0")
        await deploy(here.transport, FLOW, at_ms=5)
        entry = await here.transport.read_entry(key_of("shop"))
        assert entry is not None
        history = decode_history(entry.data)
        other = encode_manifest(Manifest(project="other", flows=()))
        await here.transport.put_blob("1" * 32, other)
        for digest in ("0" * 32, "1" * 32):
            bad = Deployment(number=2, manifest=digest, at_ms=1)
            data = encode_history(msgspec.structs.replace(history, deployments=(*history.deployments, bad)))
            await here.transport.write_entry(key_of("shop"), data)
            await here.following.look()
            await asyncio.sleep(31)
        await here.transport.write_entry(key_of("shop"), b"damaged")
        await here.following.look()
        assert await here.heard() == []

    with caplog.at_level(logging.WARNING, "flow.coordinator"):
        run_virtual(main())
    assert len(caplog.records) == 3


def test_only_what_is_signed_by_those_that_are_trusted_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        here = Here(Settings(trusted=("ed25519:" + "A" * 43 + "=",)))
        await here.transport.open_partition("0")
        await deploy(here.transport, FLOW, at_ms=5)
        await here.following.look()
        assert await here.heard() == []

    with caplog.at_level(logging.WARNING, "flow.coordinator"):
        run_virtual(main())
    assert "is not signed" in caplog.text
