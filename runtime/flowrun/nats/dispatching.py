"""Puts bundles into the work stream, and lets only a partition's leader do so.

A leader's fence is the last message of the partition's fence subject. Each bundle says which sequence it expects that
to have, so the server refuses the bundles of whoever led before. One server checks bundle after bundle, and many may be
on their way. Several that replicate refuse a check of a subject while another is under way: there one round is in
flight per partition, and all bundles that wait for it go together as the next, as an atomic batch. If the outcome of
a round is not known, its bundles go one after the other: their keys say which of them are there already.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict
from typing import NamedTuple

import msgspec

from flowrun import names
from flowrun.errors import Fenced, FlowError, TransportError

from . import streams
from .api import ApiError
from .connection import Connection
from .protocol import encode_headers, publication
from .publisher import Publisher, WrongSequence, key_headers

__all__ = ["Dispatching"]

#: most bundles and bytes of a round
_ROUND, _ROUND_BYTES = 500, 4 * 1024 * 1024
#: a check that met another one is made again so often, after this time in seconds
_TRIES, _AGAIN = 500, 0.01

_WRONG_SEQUENCE = 10071

#: subjects that are written to again and again
_work_subject = functools.lru_cache(maxsize=10_000)(names.work_subject)


@functools.lru_cache(maxsize=1_000)
def _fence_headers(env: str, partition: str, fence: int) -> bytes:
    """The headers of a dispatch, up to its key."""
    headers = {
        "Nats-Expected-Last-Subject-Sequence": str(fence),
        "Nats-Expected-Last-Subject-Sequence-Subject": names.fence_subject(env, partition),
    }
    return encode_headers(headers).removesuffix(b"\r\n")


class _Bundle(NamedTuple):
    subject: str
    data: bytes
    key: str
    fence: int
    done: asyncio.Future[None]


class _BatchAck(msgspec.Struct, frozen=True):
    count: int = 0
    error: ApiError | None = None


class Dispatching:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        self._env = connection.settings.env
        self._replicated = connection.settings.replicas > 1
        self._waiting: defaultdict[str, list[_Bundle]] = defaultdict(list)
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._writer = connection.new_inbox()
        self._number = 0

    async def fence(self, partition: str) -> int:
        """Makes a new one; the older ones of the partition are removed."""
        self._number += 1
        subject = names.fence_subject(self._env, partition)
        token = await self._publisher.publish(subject, b"", f"{self._writer}-{self._number}")
        await streams.purge(self._connection, names.work_stream(self._env), subject, keep=1)
        return token

    async def put(
        self, group: str, lane: str, priority: int, partition: str, data: bytes, key: str, fence: int
    ) -> None:
        """Returns when the server has it. Raises Fenced."""
        subject = _work_subject(self._env, group, lane, priority, partition)
        if not self._replicated:
            await self._put_one(partition, subject, data, key, fence)
            return
        self._publisher.check(data)
        bundle = _Bundle(subject, data, key, fence, asyncio.get_running_loop().create_future())
        self._waiting[partition].append(bundle)
        if partition not in self._rounds:
            self._rounds[partition] = asyncio.create_task(self._run_rounds(partition))
        await bundle.done

    async def close(self) -> None:
        rounds = list(self._rounds.values())
        for task in rounds:
            task.cancel()
        if rounds:
            await asyncio.wait(rounds)

    async def _put_one(self, partition: str, subject: str, data: bytes, key: str, fence: int) -> None:
        headers = key_headers(key, _fence_headers(self._env, partition, fence))
        for _ in range(_TRIES):
            if self._publisher.full:
                await self._publisher.room()
            try:
                await self._publisher.post(subject, data, headers)
                return
            except WrongSequence as error:
                if error.last is not None:
                    break
            await asyncio.sleep(_AGAIN)
        raise Fenced() from None

    # ---- rounds

    async def _run_rounds(self, partition: str) -> None:
        waiting = self._waiting[partition]
        try:
            while waiting:
                bundles = _first_round(waiting)
                del waiting[: len(bundles)]
                try:
                    await self._put_round(partition, bundles)
                finally:
                    for bundle in bundles:  # those without an outcome: the connection is being closed
                        _settle(bundle, TransportError("this connection is closed"))
        finally:
            for bundle in waiting:
                _settle(bundle, TransportError("this connection is closed"))
            del self._rounds[partition], self._waiting[partition]

    async def _put_round(self, partition: str, bundles: list[_Bundle]) -> None:
        if len(bundles) > 1:
            try:
                if await self._put_batch(partition, bundles):
                    for bundle in bundles:
                        _settle(bundle, None)
                    return
            except FlowError as error:
                for bundle in bundles:
                    _settle(bundle, error)
                return
        for bundle in bundles:
            try:
                await self._put_one(partition, bundle.subject, bundle.data, bundle.key, bundle.fence)
                _settle(bundle, None)
            except FlowError as error:
                _settle(bundle, error)

    async def _put_batch(self, partition: str, bundles: list[_Bundle]) -> bool:
        """True if all are there; False if that is not known. Raises Fenced."""
        self._number += 1
        batch = f"{self._writer.rpartition('.')[2]}-{self._number}"
        fenced = _fence_headers(self._env, partition, bundles[0].fence)
        for number, bundle in enumerate(bundles, 1):
            headers = key_headers(
                bundle.key, b"%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (fenced, batch.encode(), number)
            )
            if number < len(bundles):
                self._connection.write(publication(bundle.subject, bundle.data, "", headers))
                continue
            headers = headers.removesuffix(b"\r\n") + b"Nats-Batch-Commit: 1\r\n\r\n"
            answer = await self._connection.request_once(bundle.subject, bundle.data, headers)
        ack = msgspec.json.decode(answer.data, type=_BatchAck) if answer is not None and answer.data else _BatchAck()
        if ack.error is not None and ack.error.err_code == _WRONG_SEQUENCE:
            raise Fenced()
        return ack.count == len(bundles)


def _first_round(waiting: list[_Bundle]) -> list[_Bundle]:
    """The bundles that wait longest and may go together: of one fence, and not too many."""
    size = 0
    chosen: list[_Bundle] = []
    for bundle in waiting[:_ROUND]:
        size += len(bundle.data)
        if chosen and (bundle.fence != chosen[0].fence or size > _ROUND_BYTES):
            break
        chosen.append(bundle)
    return chosen


def _settle(bundle: _Bundle, error: Exception | None) -> None:
    if bundle.done.done():
        return
    if error is None:
        bundle.done.set_result(None)
    else:
        bundle.done.set_exception(error)
