"""What goes wrong in a simulation, and when; all of it drawn from the seed."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowrun.memory import Faults, MemoryTransport
from flowrun.worker.agent import Agent

from .loop import Process

if TYPE_CHECKING:
    from .world import Machine, World

__all__ = ["Trouble", "draw_faults"]


def draw_faults(chance: random.Random) -> Faults:
    """Of the server and the connections to it."""

    def some(*values: float) -> float:
        return chance.choice((0.0, *values))

    return Faults(
        seed=chance.randrange(1 << 30), delay=some(0.002, 0.02, 0.3), fail=some(0.01), fail_blob=some(0.03),
        refuse=some(0.01),
        lose_answer=some(0.01, 0.05), duplicate=some(0.05), duplicate_after=chance.choice((0.1, 10.0)),
        lose_ack=some(0.05, 0.2), lose_note=some(0.3, 1.0), lateness=some(0.2),
    )  # fmt: skip


class Trouble:
    """Disturbs the world from `make` to `end`."""

    #: things go wrong for so long, and so long lies between two of them, in seconds
    seconds = 20.0
    pause = (0.1, 8.0)
    #: chance that the server loses what it acknowledged
    disasters = 0.1

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._chance = world, world.chance
        #: what went wrong: kind -> how often
        self.counts: dict[str, int] = {}
        chance = random.Random(f"{seed} disaster")
        #: "power", "store", or "" in most simulations
        self.disaster = chance.choice(("power", "store")) if chance.random() < self.disasters else ""
        self._disasters_chance = chance
        #: runs whose submission survived it
        self._kept: set[str] = set()
        self._recovered = False

    async def make(self) -> None:
        """Until the time of trouble is over."""
        chance, end = self._chance, self._world.loop.time() + self.seconds
        kinds = self.kinds()
        while kinds and self._world.loop.time() < end:
            await asyncio.sleep(chance.uniform(*self.pause))
            trouble = chance.choice(kinds)
            name = trouble.__name__
            self.counts[name] = self.counts.get(name, 0) + 1
            trouble()
        await asyncio.sleep(max(end - self._world.loop.time(), 0))

    def kinds(self) -> list[Callable[[], None]]:
        """What may go wrong, the likely ones more than once."""
        kinds = [self.kill, self.kill, self.halt, self.halt, self.cut, self.crash_server, self.stop]
        return self._chance.sample(kinds, self._chance.randint(0, len(kinds)))

    def _later(self, seconds: float, act: Callable[..., None], *args: object) -> None:
        """Outside of all processes."""
        self._world.loop.call_later(seconds, act, *args, context=self._world.outside)

    def _victim(self) -> Machine:
        return self._chance.choice(self._world.machines)

    def kill(self) -> None:
        """After some more steps of the victim: so it dies at any await."""
        victim, steps = self._victim(), self._chance.choice((0, 3, 30, 300))
        process = victim.process

        def die() -> None:
            if process.alive:
                self._world.history.note(process.name, "is killed")
                self._world.kill(victim)
                self._later(self._chance.uniform(0, 4), self._world.restart, victim, process)

        process.steps_left, process.on_fatal_step = self._chance.randint(0, steps), die

    def halt(self) -> None:
        process = self._victim().process
        if process.paused or not process.alive:
            return
        self._world.history.note(process.name, "is paused")
        process.pause()
        self._later(self._chance.uniform(0.1, 12.0), self._wake, process)

    def _wake(self, process: Process) -> None:
        self._world.history.note(process.name, "wakes")
        process.wake()

    def cut(self) -> None:
        transport = self._victim().transport
        if transport is None or transport.connection.is_cut:
            return
        self._world.history.note(transport.name, "is cut off")
        transport.connection.cut()
        self._later(self._chance.uniform(0.1, 12.0), self._restore, transport)

    def _restore(self, transport: MemoryTransport) -> None:
        if transport.connection.is_cut:
            self._world.history.note(transport.name, "is back")
            transport.connection.restore()

    def stop(self) -> None:
        """A node or a worker is asked to end; it is started again soon."""
        victim = self._victim()
        if not victim.process.alive or victim.process.paused:
            return
        if victim.leading is not None:
            self._world.history.note(victim.process.name, "is told to end")
            victim.process.run(victim.leading.stop())
        elif victim.agent is not None:
            self._world.history.note(victim.process.name, "is told to end")
            victim.process.run(_end(victim.agent, self._chance.random() < 0.5))

    def plan_disaster(self) -> None:
        """In some simulations the server loses what it wrote last, with the power, or all that it has."""
        chance, kind = self._disasters_chance, self.disaster
        if kind:
            lost = chance.uniform(0.1, 5.0) if kind == "power" else math.inf
            # a machine that lost its power is away for longer than a lease lasts
            when, down = chance.uniform(2.0, 15.0), self._world.settings.lease + chance.uniform(1.0, 6.0)
            self._later(when, self._strike, kind, lost, down)

    def _strike(self, kind: str, lost: float, down: float) -> None:
        if self._world.calm:
            return
        if not self._world.server.up:
            self._later(1.0, self._strike, kind, lost, down)
            return
        self._world.history.note("server", "loses", f"its {kind}, and what it wrote in the last {lost:.3f} s")
        self.counts[kind] = 1
        self._world.checker.disaster = True
        now, since = self._world.loop.time(), self._world.loop.time() - lost
        self._kept = {run for run, when in self._world.checker.written.items() if when < since}
        self._doubt(now, self._kept)
        for client in self._world.clients:
            client.doubtful |= self._world.checker.stored
        self._world.server.crash(0.0 if kind == "store" else lost)
        if kind == "store":
            self._world.server.lose_store()
        self._later(down, self._restart_server)

    def _doubt(self, until: float, kept: set[str]) -> None:
        """Runs that were begun to be submitted by then may be lost, or refer to what is."""
        for client in self._world.clients:
            client.doubtful |= {
                one.run for one in client.drawn if one.at <= until and (one.run not in kept or one.program.stores)
            }

    def crash_server(self) -> None:
        if not self._world.server.up:
            return
        self._world.history.note("server", "crashes")
        self._world.server.crash()
        self._later(self._chance.uniform(0.1, 6.0), self._restart_server)

    def _restart_server(self) -> None:
        if self._world.server.up:
            return
        self._world.history.note("server", "is up")
        if self._world.checker.disaster and not self._recovered:
            self._recovered = True  # what a client sent meanwhile may rely on what it stored before
            self._doubt(self._world.loop.time(), self._kept)
        self._world.server.restart()

    def end(self) -> None:
        """From now on nothing goes wrong."""
        self._world.history.note("", "calm")
        self._world.calm = True
        self._world.server.faults = Faults(delay=min(self._world.faults.delay, 0.02))
        if not self._world.server.up:
            self._restart_server()
        for machine in self._world.machines:
            process = machine.process
            process.on_fatal_step = None
            if process.paused:
                self._wake(process)
            if machine.transport is not None:
                self._restore(machine.transport)
            if not process.alive:
                self._world.start(machine)


async def _end(agent: Agent, at_once: bool) -> None:
    agent.stop() if at_once else agent.finish()
