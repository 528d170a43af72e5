"""Writes many messages to a stream as one: an atomic batch, which the server replicates and syncs to disk once.

Whoever writes waits in a queue. One round is on its way per queue, and all that wait when it ends are the next: so a
message that is alone goes at once, and under load rounds grow. A round of few messages goes as single ones. If the
outcome of a batch is not known, its messages go as single ones too: their keys say which of them are there already.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from flowrun.errors import FlowError, TransportError

from .api import ApiError
from .connection import Connection
from .protocol import publication
from .publisher import WRONG_SEQUENCE, Publisher, WrongSequence

__all__ = ["BATCH_BYTES", "BATCH_MESSAGES", "Outgoing", "Rounds", "post_checked", "put_batch"]

#: most messages and bytes of a batch; the server takes 1,000 messages
BATCH_MESSAGES, BATCH_BYTES = 1_000, 4 * 1024 * 1024
#: a check that met another one is made again so often, after this time in seconds
_TRIES, _AGAIN = 500, 0.01


class Outgoing(NamedTuple):
    """A message of a batch."""

    subject: str
    data: bytes
    #: as `encode_headers` has them
    headers: bytes
    #: messages with different checks do not go together
    check: bytes = b""


class _Waiting(NamedTuple):
    message: Outgoing
    #: its sequence
    done: asyncio.Future[int]


class _BatchAck(msgspec.Struct, frozen=True):
    #: of the last message
    seq: int = 0
    count: int = 0
    error: ApiError | None = None


_ack_decoder = msgspec.json.Decoder(_BatchAck)


class Rounds:
    """`least`: a round of fewer messages goes as single ones. `one_by_one`: these must not be on their way together."""

    def __init__(self, connection: Connection, publisher: Publisher, *, least: int, one_by_one: bool) -> None:
        self._connection, self._publisher = connection, publisher
        self._least, self._one_by_one = least, one_by_one
        self._waiting: defaultdict[str, list[_Waiting]] = defaultdict(list)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def put(self, queue: str, message: Outgoing) -> int:
        """The message's sequence once the server has it. Raises WrongSequence, TransportError, StoreError,
        ValueTooLarge."""
        self._publisher.check(message.data)
        waiting = _Waiting(message, asyncio.get_running_loop().create_future())
        self._waiting[queue].append(waiting)
        if queue not in self._running:
            self._running[queue] = asyncio.create_task(self._run(queue))
        return await waiting.done

    async def close(self) -> None:
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _run(self, queue: str) -> None:
        waiting = self._waiting[queue]
        round_: list[_Waiting] = []
        try:
            while waiting:
                round_ = _first_round(waiting)
                del waiting[: len(round_)]
                await self._put_round(round_)
        finally:
            for left in (*round_, *waiting):  # those without an outcome: the connection is being closed
                _settle(left, TransportError("this connection is closed"))
            del self._running[queue], self._waiting[queue]

    async def _put_round(self, round_: list[_Waiting]) -> None:
        if len(round_) >= self._least:
            try:
                last = await put_batch(self._connection, [waiting.message for waiting in round_])
            except FlowError as error:
                for waiting in round_:
                    _settle(waiting, error)
                return
            if last is not None:
                for seq, waiting in enumerate(round_, last - len(round_) + 1):
                    _settle(waiting, seq)
                return
        if self._one_by_one:
            for waiting in round_:
                await self._put_one(waiting)
        else:
            await asyncio.gather(*(self._put_one(waiting) for waiting in round_))

    async def _put_one(self, waiting: _Waiting) -> None:
        try:
            _settle(waiting, await post_checked(self._publisher, waiting.message))
        except FlowError as error:
            _settle(waiting, error)


async def post_checked(publisher: Publisher, message: Outgoing) -> int:
    """Sends one message. Raises WrongSequence, TransportError, StoreError, ValueTooLarge."""
    for _ in range(_TRIES):
        if publisher.full:
            await publisher.room()
        try:
            return await publisher.post(message.subject, message.data, message.headers)
        except WrongSequence as error:
            if error.last is not None:
                raise
        await asyncio.sleep(_AGAIN)
    raise WrongSequence(None)


async def put_batch(connection: Connection, messages: Sequence[Outgoing]) -> int | None:
    """The sequence of the last message once the server has all; None if it is not known whether it has any.

    Raises WrongSequence, and StoreError if it does not take more.
    """
    batch = connection.new_inbox().rpartition(".")[2].encode()
    if connection.crowded:
        await connection.room()
    for number, message in enumerate(messages, 1):
        headers = b"%bNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n%b\r\n" % (
            message.headers[:-2], batch, number, b"Nats-Batch-Commit: 1\r\n" if number == len(messages) else b"",
        )  # fmt: skip
        if number < len(messages):
            connection.write(publication(message.subject, message.data, "", headers))
            continue
        answer = await connection.request_once(message.subject, message.data, headers)
    if answer is None or not answer.data:
        return None
    ack = _ack_decoder.decode(answer.data)
    if ack.error is not None and ack.error.err_code == WRONG_SEQUENCE:
        raise WrongSequence(0)
    return ack.seq if ack.error is None and ack.count == len(messages) else None


def _first_round(waiting: list[_Waiting]) -> list[_Waiting]:
    """Those that wait longest and may go together."""
    size = 0
    chosen: list[_Waiting] = []
    for one in waiting[:BATCH_MESSAGES]:
        size += len(one.message.data)
        if chosen and (one.message.check != chosen[0].message.check or size > BATCH_BYTES):
            break
        chosen.append(one)
    return chosen


def _settle(waiting: _Waiting, outcome: int | FlowError) -> None:
    if waiting.done.done():
        return
    if isinstance(outcome, int):
        waiting.done.set_result(outcome)
    else:
        waiting.done.set_exception(outcome)
