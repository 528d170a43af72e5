"""The deployment itself: blobs first, then one change of the project's entry, by compare-and-set.

Whoever deploys read the history before, and compared with it; if somebody else deployed since, the entry has another
revision, and this deployment is refused. What one project has depends on what others have (a flow has one project, a
pool one size), and those are other entries: so that is looked at, and the entry changed, while an entry of the whole
environment says who deploys. It is held for two round trips; one that was left behind counts for some seconds.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import msgspec

from flowrun.errors import Conflict, FlowError
from flowrun.manifest import Deployment, History, encode_history, key_of
from flowrun.transport import Transport

from .reading import Histories, read_history
from .signing import SigningKey, signed

__all__ = ["Action", "DeploymentRefused", "Order", "commit", "put_blobs"]

Action = Literal["deploy", "rollback", "undeploy"]
#: entries of a history; the oldest are dropped
_MOST_DEPLOYMENTS = 100
#: longer notes, and names, are cut, in characters
_NOTE, _NAME = 1_000, 200
#: blobs that are on their way at the same time
_PARALLEL = 256
_TURN = "deploying"
#: a deployment that was left behind halfway is waited for so long, in seconds; between two looks
_LEFT_BEHIND, _AGAIN = 10.0, 0.05


class DeploymentRefused(FlowError):
    """The deployment was refused, and nothing has changed."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become the newest entry of a project's history."""

    env: str
    #: content hash; "": the project is undeployed
    manifest: str
    action: Action = "deploy"
    by: str = ""
    note: str = ""
    key: SigningKey | None = None


class _Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Who deploys just now."""

    token: str
    project: str
    by: str
    #: milliseconds since 1970, by its own clock
    at_ms: int


async def put_blobs(transport: Transport, blobs: Mapping[str, bytes]) -> None:
    """Stores blobs, many at once. Raises TransportError, StoreError."""
    names = iter(blobs.items())

    async def put_some() -> None:
        for name, data in names:
            await transport.put_blob(name, data)

    await asyncio.gather(*(put_some() for _ in range(min(_PARALLEL, len(blobs)))))


async def commit(
    transport: Transport, read: Histories, order: Order, objections: Callable[[], Awaitable[list[str]]]
) -> Deployment:
    """Makes the order the newest entry of the history as it was `read`. `objections`: what speaks against it, looked at
    while nobody else deploys. Raises DeploymentRefused, TransportError, StoreError."""
    turn = await _take_turn(transport, read.project, order.by)
    try:
        found = await objections()
        if found:
            raise DeploymentRefused("\n".join(found))
        return await _write(transport, read, order)
    finally:
        await _give_turn(transport, turn)


async def _write(transport: Transport, read: Histories, order: Order) -> Deployment:
    last = read.history.deployments[-1] if read.history.deployments else None
    now_ms = (await transport.inbox("0")).now_ms or time.time_ns() // 1_000_000
    plain = Deployment(
        number=last.number + 1 if last else 1,
        manifest=order.manifest,
        at_ms=max(now_ms, last.at_ms + 1) if last else now_ms,
        action=order.action,
        by=order.by[:_NAME],
        note=order.note[:_NOTE],
    )
    made = signed(plain, order.env, read.project, order.key) if order.key is not None else plain
    history = History(deployments=(*read.history.deployments, made)[-_MOST_DEPLOYMENTS:])
    data = encode_history(history)
    try:
        await transport.write_entry(key_of(read.project), data, read.revision)
    except Conflict:
        now = await read_history(transport, read.project)
        if made not in now.history.deployments:  # else only the answer to our own write was lost
            raise DeploymentRefused(_overtaken(read.project, now.history)) from None
    return made


def _overtaken(project: str, history: History) -> str:
    last = history.current
    who = f" by {last.by}" if last is not None and last.by else ""
    what = f"{last.action} number {last.number}{who}" if last is not None else "somebody"
    return (
        f"another deployment of `{project}` came in between ({what}), and nothing was changed: look what it did "
        "(`flowc history`, `flowc plan --deployed`), then deploy again"
    )


# ---- whose turn it is -----------------------------------------------------------------------------------------------


async def _take_turn(transport: Transport, project: str, by: str) -> _Turn:
    """Waits until nobody else deploys in the environment. Raises DeploymentRefused after a while."""
    loop = asyncio.get_running_loop()
    mine = _Turn(token=secrets.token_hex(8), project=project, by=by, at_ms=time.time_ns() // 1_000_000)
    seen, since = "", loop.time()
    until = loop.time() + 3 * _LEFT_BEHIND
    while True:
        entry = await transport.read_entry(_TURN)
        other = _turn(entry.data) if entry is not None else None
        if other is not None and other.token == mine.token:
            return mine  # only the answer was lost
        now = loop.time()
        if other is not None and other.token != seen:
            seen, since = other.token, now
        if other is None or now - since > _LEFT_BEHIND:
            try:
                await transport.write_entry(_TURN, msgspec.msgpack.encode(mine), entry.revision if entry else 0)
            except Conflict:
                continue
            return mine
        if now > until:
            who = f" ({other.by})" if other.by else ""
            raise DeploymentRefused(
                f"others deploy in this environment just now, at last project `{other.project}`{who}: try again"
            )
        await asyncio.sleep(_AGAIN)


async def _give_turn(transport: Transport, mine: _Turn) -> None:
    """If it still is ours; what cannot be given back counts as left behind."""
    try:
        entry = await transport.read_entry(_TURN)
        other = _turn(entry.data) if entry is not None else None
        if entry is not None and other is not None and other.token == mine.token:
            await transport.write_entry(_TURN, msgspec.msgpack.encode(None), entry.revision)
    except FlowError:
        return


def _turn(data: bytes) -> _Turn | None:
    try:
        return msgspec.msgpack.decode(data, type=_Turn | None) if data else None
    except msgspec.DecodeError:
        return None
