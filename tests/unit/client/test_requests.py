"""Events that want an answer: sent again until there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from flowrun.client import Client, Refused, WaitTimeout
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Answered, Event, Signal, pack, unpack_events
from flowrun.settings import Settings

PARTITION = "0"


def signal(client: str, id: str) -> Signal:
    return Signal("r", "go", b"\x01", id, client)


class World:
    """A client, and somebody who reads its events and answers those of which `answer` says how."""

    def __init__(self, answer: Iterable[Answered | None]) -> None:
        self.server = MemoryServer(Settings())
        self.transport = MemoryTransport(self.server)
        self.answers = iter(answer)
        self.seen: list[Event] = []

    async def lead(self) -> None:
        async for batch in self.transport.read(PARTITION, 0):
            for record in batch:
                for event in unpack_events(record.data):
                    self.seen.append(event)
                    answer = next(self.answers, None)
                    if answer is not None and isinstance(event, Signal):
                        found = Answered(event.id, answer.ok, answer.message, answer.value)
                        await self.transport.notify("to", event.client, pack(found))


@asynccontextmanager
async def a_world(*answer: Answered | None) -> AsyncIterator[tuple[World, Client]]:
    world = World(answer)
    client = await Client.over(MemoryTransport(world.server), Settings(partitions=1))
    leading = asyncio.create_task(world.lead())
    yield world, client
    await client.close()
    leading.cancel()


def test_the_value_of_an_answer_is_given() -> None:
    async def main() -> None:
        async with a_world(Answered("", True, "", b"\x07")) as (world, client):
            assert await client.ask(PARTITION, signal) == b"\x07"
            assert len(world.seen) == 1

    run_virtual(main())


def test_what_is_refused_says_why() -> None:
    async def main() -> None:
        async with a_world(Answered("", False, "there is no such run")) as (_, client):
            with pytest.raises(Refused, match="there is no such run"):
                await client.ask(PARTITION, signal)

    run_virtual(main())


def test_it_is_sent_again_with_the_same_id_until_it_is_answered() -> None:
    async def main() -> None:
        async with a_world(None, None, Answered("", True)) as (world, client):
            await client.ask(PARTITION, signal)
            assert len(world.seen) == 3
            assert len({event.id for event in world.seen if isinstance(event, Signal)}) == 1

    run_virtual(main())


def test_without_a_leader_it_ends_with_a_reason() -> None:
    async def main() -> None:
        async with a_world() as (world, client):
            with pytest.raises(WaitTimeout, match="no coordinator of partition 0 answered within 30 s"):
                await client.ask(PARTITION, signal)
            assert len(world.seen) > 3

    run_virtual(main())


def test_each_question_has_its_own_answer() -> None:
    async def main() -> None:
        answers = [Answered("", True, "", bytes([number])) for number in range(50)]
        async with a_world(*answers) as (world, client):
            got = await asyncio.gather(*(client.ask(PARTITION, signal) for _ in range(50)))
            assert sorted(got) == [bytes([number]) for number in range(50)]
            assert len(world.seen) == 50

    run_virtual(main())
