"""Stores the records of ended runs, many with one acknowledgement.

A batch goes out as the server's "fast ingest": the reply subject of each message carries its number in the batch, and
the server stores each as it comes. Its acknowledgement of the last message says that all of them are stored: with
`fail` for gaps it abandons a batch of which anything is missing or refused, and then there is no such acknowledgement.
If it does not come in time, all are written again, each with an acknowledgement of its own, which also tells what is
wrong. That is safe because a record that is written twice is the same record: its run has ended.

A server that syncs each message it stores is slow with these; there an atomic batch is synced as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from flowrun import names

from .connection import Connection
from .protocol import encode_headers
from .publisher import Publisher
from .rounds import BATCH_BYTES, BATCH_MESSAGES, Outgoing, put_batch

__all__ = ["Results"]

#: batches that are on their way at the same time: the server buffers 10,000 messages of a stream, and limits batches
_BATCHES = 4
#: the server says how far it is after so many messages, and nobody needs that
_FLOW = 100
_START, _ADD, _COMMIT = 0, 1, 2


class _Commit(msgspec.Struct, frozen=True):
    """The last acknowledgement of a batch; the ones before have another type."""

    type: str = ""
    count: int = 0
    error: msgspec.Raw = msgspec.Raw()


_commit_decoder = msgspec.json.Decoder(_Commit)


class Results:
    def __init__(self, connection: Connection, publisher: Publisher) -> None:
        self._connection, self._publisher = connection, publisher
        #: a record's subject, up to the run
        self._prefix = names.result_subject(connection.settings.env, "")
        self._loop = asyncio.get_running_loop()
        self._gate = asyncio.Semaphore(_BATCHES)
        # the last token of this subject must be unique on the server
        self._inbox = connection.new_inbox()
        self._batches: dict[bytes, tuple[int, asyncio.Future[bool]]] = {}
        self._number = 0
        connection.subscribe(f"{self._inbox}.>", self._on_ack)
        connection.on_reconnect.append(self._abandon)

    async def put(self, records: Sequence[tuple[str, bytes]], keep_seconds: float) -> None:
        """Returns when the server has all. Of two records of one run the last is kept."""
        headers = encode_headers({"Nats-TTL": f"{max(round(keep_seconds), 1)}s"})
        for _, data in records:
            self._publisher.check(data)
        await asyncio.gather(*(self._put(batch, headers) for batch in _batches(dict(records))))

    async def _put(self, records: list[tuple[str, bytes]], headers: bytes) -> None:
        settings = self._connection.settings
        if len(records) >= (settings.sync_together if settings.durable else 2) and self._connection.connected:
            put = self._put_atomic if settings.durable else self._put_fast
            async with self._gate:
                if await put(records, headers):
                    return
        await asyncio.gather(*(self._put_one(run, data, headers) for run, data in records))

    async def _put_atomic(self, records: list[tuple[str, bytes]], headers: bytes) -> bool:
        """True if the server has all."""
        batch = [Outgoing(self._subject(run), data, headers) for run, data in records]
        return await put_batch(self._connection, batch) is not None

    async def _put_one(self, run: str, data: bytes, headers: bytes) -> None:
        if self._publisher.full:
            await self._publisher.room()
        await self._publisher.post(self._subject(run), data, headers)

    def _subject(self, run: str) -> str:
        return self._prefix + names.token(run)

    async def _put_fast(self, records: list[tuple[str, bytes]], headers: bytes) -> bool:
        """True if the server has all."""
        self._number += 1
        token = f"{self._inbox.rpartition('.')[2]}{self._number}"
        key = token.encode()
        done: asyncio.Future[bool] = self._loop.create_future()
        self._batches[key] = (len(records), done)
        if self._connection.crowded:
            await self._connection.room()
        self._connection.write(self._encode(token, records, headers))
        try:
            async with asyncio.timeout(self._connection.settings.answer_timeout):
                return await done
        except TimeoutError:
            return False
        finally:
            del self._batches[key]

    def _encode(self, token: str, records: list[tuple[str, bytes]], headers: bytes) -> bytes:
        """The bytes of a batch, as `protocol.publication` would have them."""
        reply = f"{self._inbox}.{token}.{_FLOW}.fail".encode()
        size, count, action = len(headers), len(records), _START
        parts = []
        for number, (run, data) in enumerate(records, 1):
            if number == count:
                action = _COMMIT
            parts.append(
                b"HPUB %b %b.%d.%d.$FI %d %d\r\n%b%b\r\n"
                % (self._subject(run).encode(), reply, number, action, size, size + len(data), headers, data)
            )
            action = _ADD
        return b"".join(parts)

    def _on_ack(self, subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        count, done = self._batches.get(subject[len(self._inbox) + 1 :].partition(b".")[0], (0, None))
        if done is None or done.done():
            return
        ack = _commit_decoder.decode(data) if data else _Commit(error=msgspec.Raw(b"nobody took it"))
        if ack.error or ack.type in ("gap", "err"):
            done.set_result(False)
        elif not ack.type:
            done.set_result(ack.count == count)

    def _abandon(self) -> None:
        """After a reconnect: the server has forgotten what it had of a batch."""
        for _, done in self._batches.values():
            if not done.done():
                done.set_result(False)


def _batches(records: dict[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for run, data in records.items():
        if batch and (len(batch) == BATCH_MESSAGES or size + len(data) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((run, data))
        size += len(data)
    if batch:
        yield batch
