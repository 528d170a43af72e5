"""What is deployed in an environment: the histories of its projects, and the manifests that these name."""

from __future__ import annotations

import asyncio
import logging

import msgspec
from flowc.plan import digest

from flowrun.errors import StoreError
from flowrun.manifest import (
    KEY,
    Deployment,
    History,
    Manifest,
    ManifestError,
    decode_history,
    decode_manifest,
    encode_manifest,
    key_of,
    project_of,
)
from flowrun.transport import Transport

__all__ = [
    "Deployed", "Histories", "digest_of", "read_all", "read_deployed", "read_histories", "read_history",
    "read_manifest",
]  # fmt: skip

log = logging.getLogger("flow.deployments")


class Histories(msgspec.Struct, frozen=True):
    """A project's history, and the revision of the entry that it was read from (0: there is no entry)."""

    project: str
    history: History
    revision: int


class Deployed(msgspec.Struct, frozen=True):
    """What a project has in the environment now."""

    deployment: Deployment
    manifest: Manifest


async def read_history(transport: Transport, project: str) -> Histories:
    """Raises TransportError, StoreError, ManifestError."""
    entry = await transport.read_entry(key_of(project))
    if entry is None:
        return Histories(project, History(), 0)
    return Histories(project, decode_history(entry.data), entry.revision)


async def read_histories(transport: Transport, problems: dict[str, str] | None = None) -> list[Histories]:
    """Of all projects that ever were deployed in the environment, by name. One that is damaged is left out; why goes
    into `problems`, by project, or into the log. Raises TransportError, StoreError."""
    found: list[Histories] = []
    for entry in await transport.entries(KEY):
        project = project_of(entry.key)
        try:
            found.append(Histories(project, decode_history(entry.data), entry.revision))
        except ManifestError as error:
            if problems is None:
                log.warning("project %s: %s", project, error)
            else:
                problems[project] = str(error)
    return sorted(found, key=lambda one: one.project)


async def read_manifest(transport: Transport, name: str) -> Manifest:
    """The manifest with this content hash. Raises TransportError, StoreError where it is not there or was changed,
    ManifestError where it cannot be read."""
    data = await transport.get_blob(name)
    if digest(data) != name:
        raise StoreError(f"the manifest {name} was changed after it was stored: its content has another hash")
    return decode_manifest(data)


async def read_deployed(transport: Transport) -> dict[str, Deployed]:
    """What each project has deployed; those that were undeployed are left out, and so, with a word in the log, are
    those whose history or manifest cannot be read. Raises TransportError, StoreError."""
    found, problems = await read_all(transport)
    for project, problem in problems.items():
        log.warning("what project %s has deployed cannot be read: %s", project, problem)
    return found


async def read_all(transport: Transport) -> tuple[dict[str, Deployed], dict[str, str]]:
    """The same, and by project what cannot be read, and why. Raises as `read_deployed`."""
    found: dict[str, Deployed] = {}
    problems: dict[str, str] = {}

    async def read(project: str, last: Deployment) -> None:
        try:
            found[project] = Deployed(last, await read_manifest(transport, last.manifest))
        except (StoreError, ManifestError) as error:
            problems[project] = str(error)

    current = [(one.project, one.history.current) for one in await read_histories(transport, problems)]
    await asyncio.gather(*(read(project, last) for project, last in current if last is not None and last.manifest))
    return {project: found[project] for project in sorted(found)}, problems


def digest_of(manifest: Manifest) -> str:
    """Its content hash."""
    return digest(encode_manifest(manifest))
