"""Executor processes come while all are busy and the machine has time, and go when they have nothing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.worker import scale as scaling
from flowrun.worker.pool import Pool
from flowrun.worker.scale import Processors, scale


class FakeSlot:
    """A slot that is busy when the test says so."""

    kind = "process"
    width = 1

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.warm = False

    async def warm_up(self) -> None:
        self.warm = True

    async def rest(self) -> None:
        self.warm = False

    def room(self) -> int:
        return 0 if self.jobs else 1


class FakeProcessors(Processors):
    def __init__(self, idle: float) -> None:
        self.value = idle

    def idle(self) -> float:
        return self.value


def scaled(idle: float, act: Callable[[list[FakeSlot]], Mapping[float, int]]) -> list[int]:
    """How many slots are used at the times that `act` names, after so many of them were made busy."""

    async def main() -> list[int]:
        slots = [FakeSlot() for _ in range(4)]
        transport = MemoryTransport(MemoryServer())
        pool = Pool(transport, "g", ("default",), "process", slots, lambda delivery, pool: None)  # type: ignore[arg-type]
        task = asyncio.create_task(scale(pool, 1, FakeProcessors(idle)))
        found = []
        for until, busy in act(slots).items():
            for at, slot in enumerate(slots):
                slot.jobs = [object()] if at < busy else []
            await asyncio.sleep(until - asyncio.get_running_loop().time())
            found.append(pool.active)
            assert [slot.warm for slot in slots[1:]] == [at < pool.active for at in range(1, 4)]
        task.cancel()
        return found

    return run_virtual(main())


@pytest.mark.parametrize(("idle", "used"), [(1.5, [1, 4, 4, 1]), (0.2, [1, 1, 1, 1])])
def test_the_number_follows_the_work(idle: float, used: list[int]) -> None:
    idle_for = 3 * scaling.IDLE + 5
    assert scaled(idle, lambda slots: {1.0: 0, 5.0: 4, 6.0: 4, 6.0 + idle_for: 0}) == used


def test_half_busy_is_enough() -> None:
    assert scaled(1.5, lambda slots: {10.0: 1, 20.0: 1}) == [2, 2]


def test_the_machine_tells_how_busy_it_is() -> None:
    processors = Processors()
    assert 0.0 <= processors.idle() <= 1024
