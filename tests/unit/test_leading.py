"""Partitions are led by somebody, shared evenly, given up gracefully, and taken over soon."""

from __future__ import annotations

import asyncio

from flowrun.leading import Leading, plan
from flowrun.lease import lease_key
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual
from flowrun.partitions import partitions
from flowrun.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

NAMES = partitions(8)


def test_a_node_alone_takes_all() -> None:
    assert sorted(plan(NAMES, dict.fromkeys(NAMES, 0.0), frozenset(), "a", 1).take) == list(NAMES)


def test_one_of_two_takes_its_half_and_what_nobody_wants() -> None:
    assert len(plan(NAMES, dict.fromkeys(NAMES, 0.0), frozenset(), "a", 2).take) == 4
    assert len(plan(NAMES, dict.fromkeys(NAMES, 5.0), frozenset(), "a", 2).take) == 8
    assert plan(NAMES, {"5": 0.0}, frozenset("0123"), "a", 2).take == ()
    assert plan(NAMES, {"5": 5.0}, frozenset("0123"), "a", 2).take == ("5",)


def test_what_is_too_much_is_given_up_one_at_a_time_when_all_is_led() -> None:
    assert plan(NAMES, {}, frozenset("01234"), "a", 2).give == "4"
    assert plan(NAMES, {}, frozenset("0123"), "a", 2).give == ""
    assert plan(NAMES, {"7": 0.1}, frozenset("01234"), "a", 2).give == ""


@given(st.integers(1, 5), st.integers(1, 16), st.randoms(use_true_random=False))
def test_nodes_that_move_as_planned_come_to_rest_evenly(nodes: int, count: int, chance: object) -> None:
    names = partitions(count)
    led: dict[str, set[str]] = {f"n{i}": set() for i in range(nodes)}
    led["n0"] = set(names)
    for _ in range(200):
        moved = False
        for node, mine in led.items():
            taken = set().union(*led.values())
            free = {name: 0.0 for name in names if name not in taken}
            moves = plan(names, free, frozenset(mine), node, nodes)
            mine |= set(moves.take)
            mine -= {moves.give}
            moved = moved or bool(moves.take or moves.give)
        if not moved:
            break
    assert not moved
    assert sorted(name for mine in led.values() for name in mine) == sorted(names)
    assert max(map(len, led.values())) <= -(-count // nodes)


class Nodes:
    """Leading nodes on one server."""

    def __init__(self) -> None:
        self.server, self.settings = MemoryServer(), Settings(partitions=6)
        self.leading: dict[str, Leading] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.transports: dict[str, MemoryTransport] = {}

    def start(self, name: str) -> None:
        transport = self.transports[name] = MemoryTransport(self.server, name)
        self.leading[name] = Leading(transport, node=name, settings=self.settings)
        self.tasks[name] = asyncio.create_task(self.leading[name].run())

    async def kill(self, name: str) -> None:
        self.transports[name].connection.kill()
        self.tasks[name].cancel()
        await asyncio.wait([self.tasks.pop(name)])
        del self.leading[name]

    async def stop(self, name: str) -> None:
        await self.leading.pop(name).stop()
        await asyncio.wait_for(self.tasks.pop(name), 10)

    @property
    def led(self) -> list[str]:
        return sorted(name for leading in self.leading.values() for name in leading.leads)

    def counts(self) -> list[int]:
        return sorted(len(leading.leads) for leading in self.leading.values())


def test_nodes_come_die_and_go() -> None:
    async def main() -> None:
        nodes, everything = Nodes(), list(partitions(6))
        nodes.start("a")
        await asyncio.sleep(2)
        assert nodes.led == everything
        nodes.start("b")
        nodes.start("c")
        await asyncio.sleep(15)
        assert nodes.led == everything
        assert nodes.counts() == [2, 2, 2]
        await nodes.kill("a")
        await asyncio.sleep(3)
        assert nodes.led == everything
        await asyncio.sleep(10)
        assert nodes.counts() == [3, 3]
        await nodes.stop("b")
        await asyncio.sleep(2)
        assert nodes.led == everything
        assert nodes.counts() == [6]
        await nodes.stop("c")

    run_virtual(main())


def test_a_coordinator_that_is_replaced_ends_and_its_node_goes_on() -> None:
    async def main() -> None:
        nodes = Nodes()
        nodes.start("a")
        await asyncio.sleep(2)
        await nodes.transports["a"].write_entry(lease_key("3"), b"\x90")
        await asyncio.sleep(1)
        assert nodes.led == ["0", "1", "2", "4", "5"]
        await asyncio.sleep(4)
        assert nodes.led == list(partitions(6))
        await nodes.stop("a")

    run_virtual(main())
