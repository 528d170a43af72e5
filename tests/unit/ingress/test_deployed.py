"""What is deployed, as a process that leads nothing follows it: what cannot be used leaves the last one in force."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from flowc.plan import TriggerDef, WebhookSource, digest
from flowrun.deployments.trust import Trust
from flowrun.ingress.deployed import Deployments
from flowrun.ingress.routes import webhook_routes
from flowrun.manifest import Deployment, History, Manifest, encode_history, encode_manifest, key_of
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual

from tests.support.deployed import deploy, flow_of, manifest_of

STRANGER = "ed25519:" + "A" * 43 + "="


def with_path(path: str, project: str = "shop") -> Manifest:
    source = WebhookSource(path=path, body=0, auth="none")
    return manifest_of(flow_of(project, TriggerDef(name="t", source=source)), project=project)


class Followed:
    """`paths`: those of the webhooks that are known to be deployed."""

    def __init__(self, trust: Trust | None = None) -> None:
        self.transport = MemoryTransport(MemoryServer())
        self.paths: list[str] = []
        self.changes = 0
        self._deployments = Deployments(self.transport, "dev", trust or Trust(), self._changed)

    def _changed(self, manifests: Iterable[Manifest]) -> None:
        self.paths = sorted(webhook_routes(manifests))
        self.changes += 1

    async def __aenter__(self) -> Followed:
        self._task = asyncio.create_task(self._deployments.run())
        await self._deployments.ready.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def say(self, manifest: str, number: int, project: str = "shop") -> None:
        """Writes an entry, whatever there is of it."""
        history = History(deployments=(Deployment(number=number, manifest=manifest, at_ms=0),))
        await self.transport.write_entry(key_of(project), encode_history(history))
        await asyncio.sleep(6)


def test_deployments_are_followed() -> None:
    async def main() -> None:
        async with Followed() as followed:
            assert (followed.paths, followed.changes) == ([], 1)
            await deploy(followed.transport, with_path("/a"))
            await asyncio.sleep(0.2)
            assert followed.paths == ["/a"], "at once"
            await deploy(followed.transport, with_path("/b", "other"))
            await deploy(followed.transport, with_path("/c"), number=2)
            await asyncio.sleep(0.2)
            assert followed.paths == ["/b", "/c"]
            await followed.say("", 3)
            assert followed.paths == ["/b"]
            changes = followed.changes
            await asyncio.sleep(60)
            assert followed.changes == changes

    run_virtual(main())


def test_what_cannot_be_used_leaves_the_last_one() -> None:
    async def main() -> None:
        async with Followed() as followed:
            transport = followed.transport
            await deploy(transport, with_path("/a"))
            await asyncio.sleep(1)
            await followed.say("f" * 32, 2)
            assert followed.paths == ["/a"], "its manifest is missing"
            whole = with_path("/late")
            flow = msgspec.structs.replace(whole.flows[0], plan="e" * 32)
            without_plan = encode_manifest(msgspec.structs.replace(whole, flows=(flow,)))
            await transport.put_blob(digest(without_plan), without_plan)
            await followed.say(digest(without_plan), 3)
            assert followed.paths == ["/a"], "a plan is missing"
            await transport.put_blob("d" * 32, without_plan)
            await followed.say("d" * 32, 4)
            assert followed.paths == ["/a"], "it was changed after it was stored"
            foreign = encode_manifest(with_path("/foreign", "other"))
            await transport.put_blob(digest(foreign), foreign)
            await followed.say(digest(foreign), 5)
            assert followed.paths == ["/a"], "it is of another project"
            await transport.write_entry(key_of("broken"), b"rubbish")
            await deploy(transport, with_path("/b"), number=6)
            await asyncio.sleep(6)
            assert followed.paths == ["/b"], "what is wrong elsewhere is of no importance"

    run_virtual(main())


def test_a_manifest_that_comes_late() -> None:
    async def main() -> None:
        async with Followed() as followed:
            data = encode_manifest(with_path("/a"))
            await deploy(followed.transport, with_path("/b", "other"))  # which stores the plan
            await followed.say(digest(data), 1)
            assert followed.paths == ["/b"]
            await followed.transport.put_blob(digest(data), data)
            await asyncio.sleep(6)
            assert followed.paths == ["/a", "/b"]

    run_virtual(main())


def test_a_stranger() -> None:
    async def main() -> None:
        async with Followed(Trust([STRANGER])) as followed:
            await deploy(followed.transport, with_path("/a"))
            await asyncio.sleep(6)
            assert followed.paths == [], "it is not signed"

    run_virtual(main())
