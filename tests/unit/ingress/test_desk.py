"""What arrives is put into the inbox of its trigger's partition, and answered, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest
from flowrun.client.errors import Busy
from flowrun.errors import TransportError
from flowrun.ingress.desk import Desk
from flowrun.memory import Faults, MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Answered, Arrived, Cancel, pack, pack_events, unpack_events
from flowrun.settings import Settings
from flowrun.sources import home_of

SETTINGS = Settings(partitions=3, answer_timeout=1, patience=8)


class Leader:
    """Answers what comes to a partition; ids that came before count once."""

    def __init__(self, server: MemoryServer, partition: str) -> None:
        self._transport, self._partition = MemoryTransport(server), partition
        self.ids: Counter[str] = Counter()

    async def lead(self) -> None:
        await self._transport.open_partition(self._partition)
        async for batch in self._transport.read(self._partition, 0):
            for record in batch:
                for event in unpack_events(record.data):
                    if isinstance(event, Arrived):
                        self.ids[event.id] += 1
                        answer = Answered(event.id, True, "", msgspec.msgpack.encode(event.trigger))
                        await self._transport.notify("to", event.client, pack(answer))


def arrived(number: int) -> Arrived:
    return Arrived(f"flow.t{number % 7}", f"webhook:{number}", b"\xc0")


@pytest.mark.parametrize("seed", range(4))
def test_all_are_answered(seed: int) -> None:
    async def main() -> None:
        faults = Faults(seed=seed, delay=0.1, lose_note=0.3, lose_answer=0.1, give_up=0.0, duplicate=0.1)
        server = MemoryServer(SETTINGS, faults)
        leaders = [Leader(server, name) for name in "012"]
        leading = [asyncio.create_task(leader.lead()) for leader in leaders]
        desk = await Desk.open(MemoryTransport(server), SETTINGS)
        numbers = [number % 50 for number in range(100)]  # each twice, at the same time
        answers = await asyncio.gather(*(desk.ask(arrived(number), {}, 60.0) for number in numbers))
        for number, answer in zip(numbers, answers, strict=True):
            assert answer is not None
            assert (answer.id, msgspec.msgpack.decode(answer.value)) == (f"webhook:{number}", f"flow.t{number % 7}")
        for name, leader in zip("012", leaders, strict=True):
            assert all(home_of(f"flow.t{int(id.split(':')[1]) % 7}", 3) == name for id in leader.ids)
        assert sum(len(leader.ids) for leader in leaders) == 50
        await desk.close()
        for task in leading:
            task.cancel()

    run_virtual(main())


def test_nobody_answers() -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)
        desk = await Desk.open(MemoryTransport(server), SETTINGS)
        start = asyncio.get_running_loop().time()
        assert await desk.ask(arrived(1), {"d" * 32: b"blob"}, 5.0) is None
        assert asyncio.get_running_loop().time() - start == pytest.approx(5.0, abs=0.1)
        records = server.inboxes[home_of("flow.t1", 3)].after(0, 100)
        assert len(records) > 1, "it was said again"
        assert server.blobs == {"d" * 32: b"blob"}
        await desk.close()

    run_virtual(main())


def test_the_server_is_away() -> None:
    async def main() -> None:
        server = MemoryServer(SETTINGS)
        desk = await Desk.open(MemoryTransport(server), SETTINGS)
        server.crash()
        start = asyncio.get_running_loop().time()
        with pytest.raises(TransportError):
            await desk.ask(arrived(1), {}, 5.0)
        assert asyncio.get_running_loop().time() - start <= 10.1
        server.restart()
        await desk.close()

    run_virtual(main())


def test_the_inbox_is_full() -> None:
    async def main() -> None:
        settings = Settings(partitions=1, inbox_high_water=100)
        server = MemoryServer(settings)
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        for number in range(5):
            await transport.append("0", pack_events([Cancel(f"run {number}", "no more of it")]), f"key {number}")
        desk = await Desk.open(transport, settings)
        with pytest.raises(Busy):
            await desk.ask(arrived(1), {}, 5.0)
        assert len(server.inboxes["0"].after(0, 100)) == 5
        await desk.close()

    run_virtual(main())
