"""Events that want an answer: a signal, an approval, a change of a run by hand.

The event is appended to the inbox of its partition, whose coordinator answers when it has decided it. Either way may
lose something: the note with the answer may be lost, and whoever leads may die before it answers. So the event is sent
again, with the same id, until it is answered; the partition decides an id once, and answers a repeated one as it did
the first time. What is not answered in time stands in the inbox all the same, and takes effect when somebody leads.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import msgspec

from flowrun.messages import Answered, Event

from .errors import Refused, WaitTimeout
from .outbox import Outbox

__all__ = ["Requests"]

#: an answer takes milliseconds: the event is sent again after this time, then after twice as long, and so on, seconds
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 8.0
#: nobody is waited for longer, in seconds: the partition remembers ids for twice as long
PATIENCE_SECONDS = 30.0


class Requests:
    """Of one client."""

    def __init__(self, outbox: Outbox, client: str) -> None:
        self._outbox, self._client = outbox, client
        self._prefix, self._count = secrets.token_hex(6), 0
        self._open: dict[str, asyncio.Future[Answered]] = {}

    def answered(self, answer: Answered) -> None:
        """A coordinator answers."""
        waiter = self._open.get(answer.id)
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    async def ask(self, partition: str, event: Callable[[str, str], Event], size: int = 0) -> bytes:
        """The value of the answer (msgpack). `event(client, id)` is the event, of about `size` bytes. Raises Refused
        with the partition's reason, WaitTimeout if no coordinator answers, Busy, TransportError, StoreError."""
        self._count += 1
        id = f"{self._prefix}{self._count:x}"
        written, wait = event(self._client, id), _FIRST_WAIT
        waiter = self._open[id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not waiter.done():
                    await self._outbox.arrived([self._outbox.post(partition, written, size)])
                    await asyncio.wait([waiter], timeout=wait)
                    wait = min(2 * wait, _LONGEST_WAIT)
        except TimeoutError:
            raise WaitTimeout(
                f"no coordinator of partition {partition} answered within {PATIENCE_SECONDS:g} s: what was sent stands "
                "in its inbox, and takes effect when a node leads it (`flowc nodes`)"
            ) from None
        finally:
            del self._open[id]
        answer: Answered = waiter.result()
        if not answer.ok:
            raise Refused(answer.message, msgspec.msgpack.decode(answer.value) or "")
        return answer.value
