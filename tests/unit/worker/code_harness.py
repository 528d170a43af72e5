"""A worker of deployed codes on the in-memory transport, and wheels for their dependencies."""

from __future__ import annotations

import asyncio
import os
import textwrap
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from flowc import plan as plans
from flowrun.code.packing import pack_code
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import WorkItem
from flowrun.settings import Settings
from flowrun.worker.agent import Agent
from flowrun.worker.code_slot import CodeSlot
from flowrun.worker.codes import Codes
from flowrun.worker.frames import ExecutorKind, Setup

from tests.unit.worker.harness import Worker, call, listen


def project(folder: Path, **files: str) -> Path:
    """A project with these modules (`a__b` is a/b.py), and files whose names have a suffix as given by `name`."""
    for name, text in files.items():
        path = folder / (f"{name.replace('__', '/')}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def wheel(folder: Path, name: str, version: str, source: str, requires: str = "") -> Path:
    """A wheel of one module, made without any tool."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    members = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{info}/RECORD"] = "".join(f"{member},,\n" for member in (*members, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return path


class CodeWorker(Worker):
    """A worker that is given work of codes."""

    async def store(self, root: Path) -> str:
        """Packs a project; gives its digest."""
        packed = pack_code(root)
        await self.transport.put_blob(packed.digest, packed.data)
        return packed.digest

    def of_code(self, digest: str, target: str, settings: Any = None, **args: Any) -> tuple[plans.Plan, WorkItem]:
        plan, item = call(target, settings=settings, **args)
        return msgspec.structs.replace(plan, code=digest), item

    async def result(self, digest: str, target: str, **args: Any) -> Any:
        """The value of one call in a code."""
        plan, item = self.of_code(digest, target, **args)
        (outcome,) = await self.run(plan, [item])
        return self.value(outcome)


@asynccontextmanager
async def code_worker(
    root: Path,
    *,
    slots: int = 1,
    kind: ExecutorKind = "process",
    width: int = 1,
    ack_wait: float = 3.0,
) -> AsyncIterator[CodeWorker]:
    """A worker that runs in an own, empty folder below `root`."""
    here = root / "node"
    here.mkdir()
    server = MemoryServer(Settings(ack_wait=ack_wait))
    await MemoryTransport(server).open_partition("p")
    made = [CodeSlot(Setup(str(here), (), kind, width)) for _ in range(slots)]
    transport = MemoryTransport(server)
    codes = Codes(here / ".flow" / "cache", transport.get_blob, os.environ)
    agent = Agent(transport, made, worker="w", group="g", queues=("default",), ack_wait=ack_wait, codes=codes)
    running = CodeWorker(server, agent, made, kind)
    running.fence = await running.transport.fence("p")
    work = asyncio.create_task(agent.run())
    listening = asyncio.create_task(listen(running))
    try:
        yield running
        agent.stop()
        await work
    finally:
        listening.cancel()
        work.cancel()
        await asyncio.wait([work, listening])
        await agent.close()
