"""What executes a run of the command line: an own server, unless there is a URL, and a worker process.

Both are told to start before anything large is imported, and come up meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING, Any

from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from flowc.project_file import ProjectFile

__all__ = ["Node", "python_folders", "start_node"]


@asynccontextmanager
async def start_node(
    worker: Popen[bytes], root: Path, run: str, *, url: str | None, env: str, slots: int | None, queues: frozenset[str]
) -> AsyncIterator[Node]:
    """Starts a server and ends it, and the launched worker, with the block. The worker of an own server is told at once
    what to do; with a URL it waits for `Node.serve`, so that a server that does not answer is told once, by us. Raises
    StoreError, TransportError."""
    async with AsyncExitStack() as stack:
        server = url if url is not None else EmbeddedServer(root / ".flow")
        if isinstance(server, EmbeddedServer):
            stack.push_async_callback(server.stop)
            await server.start()
        node = Node(root, run, server, env, slots or os.cpu_count() or 1, worker)
        stack.push_async_callback(node.stop)
        if url is None:
            await node.serve(queues)
        yield node


class Node:
    """Made by `start_node`."""

    def __init__(
        self, root: Path, run: str, server: str | EmbeddedServer, env: str, slots: int, launched: Popen[bytes]
    ) -> None:
        self.url = server if isinstance(server, str) else server.url
        self._server = None if isinstance(server, str) else server
        self.slots = slots
        self.partition = f"local-{run}"
        self.settings = Settings(env=env)
        self._root, self._run = root, run
        self._queues: frozenset[str] = frozenset()
        self._launched: Popen[bytes] | None = launched
        self.worker: Supervisor | None = None

    async def serve(self, queues: frozenset[str]) -> None:
        """Makes sure that a worker serves these queues."""
        if queues <= self._queues:
            return
        await self.stop()
        self._queues = queues
        config = WorkerConfig(
            url=self.url, env=self.settings.env, group=self.partition, queues=tuple(sorted(queues)),
            slots=self.slots, root=str(self._root), python=python_folders(self._root), name=f"cli-{self._run}",
            ack_wait=self.settings.ack_wait, key_file=_key_file(self._root, self.settings.env),
        )  # fmt: skip
        self.worker, self._launched = Supervisor(config, self._launched), None
        await self.worker.start()

    def watchers(self) -> list[Coroutine[Any, Any, None]]:
        """What is to be awaited beside a run: they raise TransportError or WorkerBroken when server or workers are
        gone for good."""
        assert self.worker is not None
        return [self.worker.wait()] + ([self._server.watch()] if self._server is not None else [])

    async def stop(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.stop()


def python_folders(root: Path) -> tuple[str, ...]:
    """`python` of flow.toml. What is wrong in the file, the compiler tells."""
    found = _project_file(root)
    return () if found is None else found.python


def _key_file(root: Path, env: str) -> str:
    """`key_file` of the environment in flow.toml, else of [node]; "": there is none."""
    found = _project_file(root)
    if found is None:
        return ""
    named = found.environments.get(env, {}).get("key_file") or found.node.get("key_file")
    return "" if named is None else str(root / named)


def _project_file(root: Path) -> ProjectFile | None:
    if not (root / "flow.toml").is_file():
        return None
    from flowc.catalog import Findings  # a single file does not need them
    from flowc.project_file import read_project_file

    return read_project_file(root / "flow.toml", Findings())
