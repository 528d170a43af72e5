"""What a worker writes arrives in messages that the server takes, each under a key of its own."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from flowrun.errors import ValueTooLarge
from flowrun.messages import Outcome, Results, unpack_events
from flowrun.worker.outbox import Outbox

LIMIT = 1_000


class Inbox:
    """A server that takes messages of up to LIMIT bytes."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.outcomes: list[Outcome] = []

    async def append(self, partition: str, data: bytes, key: str) -> int:
        if len(data) > LIMIT:
            raise ValueTooLarge(f"{len(data)} bytes, and the server takes {LIMIT}")
        self.keys.append(key)
        for event in unpack_events(data):
            assert isinstance(event, Results)
            self.outcomes += event.outcomes
        return len(self.keys)


async def told(*results: Results, lives: int = 1) -> Inbox:
    """What is in the inbox when workers of one name have told these, each in a life of its own."""
    inbox: Any = Inbox()
    done = 0

    async def then() -> None:
        nonlocal done
        done += 1

    async def reported(job: object) -> None:
        """There are no jobs."""

    for _ in range(lives):
        outbox = Outbox(inbox, "w", reported, asyncio.ensure_future)
        for result in results:
            outbox.tell("0", result, then)
            await outbox.drain()
    assert done == len(results) * lives
    found: Inbox = inbox
    return found


def outcome(node: int, size: int) -> Outcome:
    data = random.Random(node).randbytes(size)  # which no compression makes smaller
    return Outcome("r", 0, node, 1, "success", value=b"\xc5" + size.to_bytes(2, "big") + data)


async def test_what_is_too_large_for_a_message_travels_in_parts() -> None:
    inbox = await told(Results("b", "w", tuple(outcome(node, 300) for node in range(8))))
    assert [one.node for one in inbox.outcomes] == list(range(8))
    assert len(set(inbox.keys)) == len(inbox.keys) > 1


async def test_a_result_that_no_message_holds_fails_its_attempt_and_no_other() -> None:
    inbox = await told(Results("b", "w", (outcome(0, 10), outcome(1, 2_000), outcome(2, 10))))
    assert [(one.node, one.state) for one in inbox.outcomes] == [(0, "success"), (1, "failed"), (2, "success")]
    error = inbox.outcomes[1].error
    assert error is not None
    assert (error.type, error.retryable) == ("ResultTooLarge", False)
    assert "the server takes 1000" in error.message


async def test_what_is_told_of_a_bundle_again_is_a_message_of_its_own() -> None:
    """Also by a worker of the same name: what was told before may have been of another attempt to run it."""
    inbox = await told(Results("b", "w", (outcome(0, 10),)), Results("b", "w", (outcome(0, 20),)), lives=2)
    assert len(set(inbox.keys)) == 4
