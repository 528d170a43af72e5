"""One simulation: a server, nodes that lead partitions, workers, clients, and whatever goes wrong, all from one seed.

For a while things go wrong: processes are killed between any two of their steps, paused, cut off and started again,
the server crashes, requests and notes are late, lost or doubled. Then all is quiet, every process lives, and what was
accepted must end, and end right. What must hold at every moment is checked at every moment (see `invariants`).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
import random
import secrets
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from flowc.plan import Plan
from flowrun.coordinator import Coordinator
from flowrun.errors import FlowError
from flowrun.leading import Leading
from flowrun.memory import EPOCH_MS, Faults, MemoryServer, MemoryTransport
from flowrun.messages import Bundle, RunRecord, WorkItem, unpack
from flowrun.partitions import partitions
from flowrun.settings import Settings
from flowrun.worker.agent import Agent

from .agent import make_agent, run_agent
from .checker import Checker
from .client import SimClient
from .history import Happening, History
from .invariants import Violation, every_accepted_run_ends_right
from .loop import Process, SimLoop, Stuck, current_process
from .programs import COUNT
from .worker import GROUP, Habits, SimWorker

__all__ = ["Ending", "simulate"]

#: things go wrong for so long; then nothing may stand still for that time, in seconds
_TROUBLE, _PATIENCE = 20.0, 100.0


@dataclass(frozen=True)
class Ending:
    """What came of a simulation."""

    seed: int
    violation: Violation | None
    history: list[Happening]
    #: loop time at its end, steps of all processes, runs that were accepted
    seconds: float
    steps: int
    runs: int
    #: what went wrong: kind -> how often
    troubles: dict[str, int] = field(default_factory=dict)
    #: the history as text, and the traceback of what caused the violation
    lines: tuple[str, ...] = ()
    cause: str = ""

    def portable(self, verbose: bool) -> Ending:
        """Such that another process can have it; with its history only if that is wanted."""
        violation = Violation(str(self.violation)) if self.violation is not None else None
        cause = self.violation.__cause__ if self.violation is not None else None
        return replace(
            self, violation=violation, history=[], lines=tuple(map(str, self.history)) if verbose else (),
            cause="".join(traceback.format_exception(cause)) if cause else "",
        )  # fmt: skip


@dataclass(eq=False)
class Machine:
    """Something that runs in a process, and is started again when that dies."""

    name: str
    main: Callable[[Machine, MemoryTransport], Awaitable[None]]
    process: Process
    transport: MemoryTransport | None = None
    #: how often it was started
    starts: int = 0
    #: if it is a node, or a real worker
    leading: Leading | None = None
    agent: Agent | None = None


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = SimLoop()
        self.history = History(self.loop.time)
        self.plans: dict[str, Plan] = {}
        self.machines: list[Machine] = []
        self.troubles: dict[str, int] = {}
        self.calm = False
        #: leader -> the message after which its state was checked last
        self._compared: dict[Coordinator, int] = {}
        chance = random.Random(f"{seed} disaster")
        #: "power", "store", or "" in most simulations
        self._disaster = (chance, chance.choice(("power", "store")) if chance.random() < 0.1 else "")
        #: of a disaster: runs whose submission survived it
        self._kept: set[str] = set()
        self._recovered = False
        self._by_pid: dict[int, Process] = {}
        #: all processes run on the same one, and can see whether others live
        self._one_host = self.chance.random() < 0.3

    # ---- setting up

    def build(self) -> None:
        """Needs the running loop."""
        chance = self.chance
        self.partitions = chance.choice((1, 1, 2, 3))
        self.settings = Settings(
            partitions=self.partitions,
            lease=chance.choice((1.0, 2.0)),
            lease_renewal=chance.choice((0.3, 0.5)),
            snapshot_events=chance.choice((3, 10, 40, 1_000)),
            snapshot_interval=chance.choice((1.0, 5.0, 30.0)),
            sync_lag=chance.choice((0.0, 2.0, 130.0)) if not self._disaster[1] else 130.0,
            freeze_after=chance.choice((0.3, 1.0, 5.0)),
            ack_wait=chance.choice((3.0, 6.0)),
            answer_timeout=1.0,
            patience=10.0,
            bundle_items=chance.choice((1, 5, 500)),
            window_per_slot=chance.choice((1, 2)),
            audit=chance.choice((3.0, 10.0)),
        )
        self.faults = self._draw_faults()
        self.server = MemoryServer(self.settings, self.faults)
        self.checker = Checker(self.server, self.history, self.plans)
        self.server.observe = self.checker.effect
        for number in range(chance.choice((1, 2, 2, 3))):
            self._add(f"node{number}", self._run_node)
        for number in range(chance.choice((1, 2, 3))):
            habits = Habits(
                slots=chance.choice((1, 2, 4)),
                slow=chance.choice((0.0, 0.1, 0.3)),
                longest=chance.choice((1.0, 5.0, 9.0)),
                flushes=chance.choice((0.0, 0.3, 1.0)),
                hands_back=chance.choice((0.0, 0.1)),
                transient=chance.choice((0.0, 0.2)),
                real=chance.random() < 0.3,
            )
            self._add(f"worker{number}", self._run_worker(habits))
        # few, so that runs of the same flow meet, or many
        numbers = chance.sample(range(COUNT), chance.choice((1, 2, 4, 16)))
        self.clients: list[SimClient] = []
        for number in range(chance.choice((1, 2))):
            its_chance = random.Random(chance.random())
            client = SimClient(f"client{number}", self.settings, its_chance, self.plans, numbers)
            self.clients.append(client)
            self._add(client.name, self._run_client(client))

    def _draw_faults(self) -> Faults:
        chance = self.chance

        def some(*values: float) -> float:
            return chance.choice((0.0, *values))

        return Faults(
            seed=chance.randrange(1 << 30), delay=some(0.002, 0.02, 0.3), fail=some(0.01), fail_blob=some(0.03),
            refuse=some(0.01),
            lose_answer=some(0.01, 0.05), duplicate=some(0.05), duplicate_after=chance.choice((0.1, 10.0)),
            lose_ack=some(0.05, 0.2), lose_note=some(0.3, 1.0), lateness=some(0.2),
        )  # fmt: skip

    def _add(self, name: str, main: Callable[[Machine, MemoryTransport], Awaitable[None]]) -> None:
        self.machines.append(Machine(name, main, Process(name, self.loop)))

    # ---- machines

    def start(self, machine: Machine) -> None:
        machine.starts += 1
        name = f"{machine.name}.{machine.starts}"
        process = machine.process = Process(name, self.loop)
        process.pid = len(self._by_pid) + 1
        process.host = "one" if self._one_host else machine.name
        self._by_pid[process.pid] = process
        machine.process.clock_offset = self.chance.choice((0.0, 0.0, -3.0, 5.0, 86_400.0))
        machine.transport = MemoryTransport(self.server, name)
        machine.leading = machine.agent = None
        self.history.note(name, "starts")
        machine.process.run(self._live(machine, machine.transport, machine.process))

    async def _live(self, machine: Machine, transport: MemoryTransport, process: Process) -> None:
        try:
            await machine.main(machine, transport)
            self.history.note(process.name, "ends")
            if machine.leading is not None or machine.agent is not None:
                self.loop.call_later(1.0, self._restart, machine, process, context=self.outside)
        except FlowError as error:
            self.history.note(process.name, "ends", str(error))
            self.loop.call_later(0.5, self._restart, machine, process, context=self.outside)
        except Exception as error:
            self.fail(Violation(f"{process.name} ended by {type(error).__name__}: {error}"), error)

    def _restart(self, machine: Machine, process: Process) -> None:
        """As a supervisor does, unless somebody else did."""
        if machine.process is process:
            self.kill(machine)
            self.start(machine)

    def signal(self, pid: int, signal: int) -> None:
        """As `os.kill`: tells whether a process lives."""
        if not self._by_pid[pid].alive:
            raise ProcessLookupError

    def kill(self, machine: Machine) -> None:
        machine.process.kill()
        if machine.transport is not None:
            machine.transport.connection.kill()

    def fail(self, violation: Violation, cause: BaseException | None = None) -> None:
        if self.checker.violation is None:
            violation.__cause__ = cause
            self.checker.violation = violation

    async def _run_node(self, machine: Machine, transport: MemoryTransport) -> None:
        machine.leading = Leading(transport, node=machine.process.name, settings=self.settings, group=GROUP)
        await machine.leading.run()

    def _run_worker(self, habits: Habits) -> Callable[[Machine, MemoryTransport], Awaitable[None]]:
        async def main(machine: Machine, transport: MemoryTransport) -> None:
            chance = random.Random(f"{self.seed} {machine.process.name}")
            name = machine.process.name
            if not habits.real:
                await SimWorker(transport, name, habits, self.settings, chance, self).run()
                return
            machine.agent = make_agent(transport, name, habits, self.settings, chance, self)
            await run_agent(machine.agent, transport, name, self.settings)

        return main

    def begins(self, worker: str, bundle: Bundle, item: WorkItem, index: int, chained: tuple[int, ...]) -> None:
        self.checker.begins(worker, bundle, item, index, chained)

    def _run_client(self, client: SimClient) -> Callable[[Machine, MemoryTransport], Awaitable[None]]:
        async def main(machine: Machine, transport: MemoryTransport) -> None:
            await client.run(transport, self.history)

        return main

    # ---- trouble

    async def _make_trouble(self) -> None:
        """Until the time of trouble is over."""
        chance, end = self.chance, self.loop.time() + _TROUBLE
        kinds = [
            self._kill_later,
            self._kill_later,
            self._pause,
            self._pause,
            self._cut,
            self._crash_server,
            self._stop,
        ]
        kinds = chance.sample(kinds, chance.randint(0, len(kinds)))
        while kinds and self.loop.time() < end:
            await asyncio.sleep(chance.uniform(0.1, 8.0))
            trouble = chance.choice(kinds)
            self.troubles[trouble.__name__.strip("_")] = self.troubles.get(trouble.__name__.strip("_"), 0) + 1
            trouble()
        await asyncio.sleep(max(end - self.loop.time(), 0))

    def _victim(self) -> Machine:
        return self.chance.choice(self.machines)

    def _kill_later(self) -> None:
        """After some more steps of the victim: so it dies at any await."""
        victim, steps = self._victim(), self.chance.choice((0, 3, 30, 300))
        process = victim.process

        def die() -> None:
            if process.alive:
                self.history.note(process.name, "is killed")
                self.kill(victim)
                self.loop.call_later(self.chance.uniform(0, 4), self._restart, victim, process, context=self.outside)

        process.steps_left, process.on_fatal_step = self.chance.randint(0, steps), die

    def _pause(self) -> None:
        process = self._victim().process
        if process.paused or not process.alive:
            return
        self.history.note(process.name, "is paused")
        process.pause()
        self.loop.call_later(self.chance.uniform(0.1, 12.0), self._wake, process, context=self.outside)

    def _wake(self, process: Process) -> None:
        self.history.note(process.name, "wakes")
        process.wake()

    def _cut(self) -> None:
        transport = self._victim().transport
        if transport is None or transport.connection.is_cut:
            return
        self.history.note(transport.name, "is cut off")
        transport.connection.cut()
        self.loop.call_later(self.chance.uniform(0.1, 12.0), self._restore, transport, context=self.outside)

    def _restore(self, transport: MemoryTransport) -> None:
        if transport.connection.is_cut:
            self.history.note(transport.name, "is back")
            transport.connection.restore()

    def _stop(self) -> None:
        """A node or a worker is asked to end; it is started again soon."""
        victim = self._victim()
        if not victim.process.alive or victim.process.paused:
            return
        if victim.leading is not None:
            self.history.note(victim.process.name, "is told to end")
            victim.process.run(victim.leading.stop())
        elif victim.agent is not None:
            self.history.note(victim.process.name, "is told to end")
            victim.process.run(_end(victim.agent, self.chance.random() < 0.5))

    def _plan_disaster(self) -> None:
        """In some simulations the server loses what it wrote last, with the power, or all that it has."""
        chance, kind = self._disaster
        if kind:
            lost = chance.uniform(0.1, 5.0) if kind == "power" else math.inf
            # a machine that lost its power is away for longer than a lease lasts
            when, down = chance.uniform(2.0, 15.0), self.settings.lease + chance.uniform(1.0, 6.0)
            self.loop.call_later(when, self._strike, kind, lost, down, context=self.outside)

    def _strike(self, kind: str, lost: float, down: float) -> None:
        if self.calm:
            return
        if not self.server.up:
            self.loop.call_later(1.0, self._strike, kind, lost, down, context=self.outside)
            return
        self.history.note("server", "loses", f"its {kind}, and what it wrote in the last {lost:.3f} s")
        self.troubles[kind] = 1
        self.checker.disaster = True
        now, since = self.loop.time(), self.loop.time() - lost
        self._kept = {run for run, when in self.checker.written.items() if when < since}
        self._doubt(now, self._kept)
        for client in self.clients:
            client.doubtful |= self.checker.stored
        self.server.crash(0.0 if kind == "store" else lost)
        if kind == "store":
            self.server.lose_store()
        self.loop.call_later(down, self._restart_server, context=self.outside)

    def _doubt(self, until: float, kept: set[str]) -> None:
        """Runs that were begun to be submitted by then may be lost, or refer to what is."""
        for client in self.clients:
            client.doubtful |= {one.run for one in client.drawn if one.at <= until and one.run not in kept}

    def _crash_server(self) -> None:
        if not self.server.up:
            return
        self.history.note("server", "crashes")
        self.server.crash()
        self.loop.call_later(self.chance.uniform(0.1, 6.0), self._restart_server, context=self.outside)

    def _restart_server(self) -> None:
        if self.server.up:
            return
        self.history.note("server", "is up")
        if self.checker.disaster and not self._recovered:
            self._recovered = True  # what a client sent meanwhile may rely on what it stored before
            self._doubt(self.loop.time(), self._kept)
        self.server.restart()

    def _calm(self) -> None:
        """From now on nothing goes wrong."""
        self.history.note("", "calm")
        self.calm = True
        self.server.faults = Faults(delay=min(self.faults.delay, 0.02))
        if not self.server.up:
            self._restart_server()
        for machine in self.machines:
            process = machine.process
            process.on_fatal_step = None
            if process.paused:
                self._wake(process)
            if machine.transport is not None:
                self._restore(machine.transport)
            if not process.alive:
                self.start(machine)

    # ---- its course

    async def main(self) -> None:
        self.outside = contextvars.copy_context()
        self.build()
        for partition in partitions(self.partitions):
            self.server.open_partition(partition)
        for machine in self.machines:
            self.start(machine)
        trouble = asyncio.create_task(self._make_trouble())
        self._plan_disaster()
        checks = random.Random(f"{self.seed} checks")
        while not trouble.done() and not self._is_over():
            await asyncio.sleep(0.5)
            if checks.random() < 0.2:
                self._check_state()
        trouble.cancel()
        self._calm()
        ended, since = -1, self.loop.time()
        while not self._is_over() and self.loop.time() - since < _PATIENCE:
            await asyncio.sleep(0.5)
            if self.checker.ended > ended:
                ended, since = self.checker.ended, self.loop.time()
        if self.checker.violation is None:
            self._check_ends()
            self._check_rates()
        await asyncio.sleep(1.0)
        self._check_state()

    def _is_over(self) -> bool:
        if self.checker.violation is not None:
            return True
        return all(client.done for client in self.clients) and all(
            self.server.result(run) is not None or run in client.doubtful
            for client in self.clients
            for run in client.accepted
        )

    def _check_ends(self) -> None:
        for client in self.clients:
            for run, submission in client.accepted.items():
                if run in client.doubtful:
                    continue
                data = self.server.result(run)
                record = unpack(data, RunRecord) if data is not None else None
                try:
                    every_accepted_run_ends_right(
                        run, submission.program, record, self.server.blobs,
                        cancelled=run in client.cancelled, expired=submission.expires,
                    )  # fmt: skip
                    if record is not None:
                        client.check(run, record)
                except Violation as violation:
                    self.fail(violation)
            if not client.done:
                self.fail(Violation(f"{client.name} still waits, and all has ended"))

    def _check_rates(self) -> None:
        try:
            self.checker.check_rates()
        except Violation as violation:
            self.fail(violation)

    def _check_state(self) -> None:
        """The leaders' states are the folds of their inboxes."""
        for machine in self.machines:
            for partition, coordinator in machine.leading._coordinators.items() if machine.leading else ():
                if not self.checker.leads(machine.process.name, partition) or not coordinator.ready.is_set():
                    continue
                seq = coordinator._audit._position
                if coordinator._settled and self._compared.get(coordinator, 0) < seq:
                    self._compared[coordinator] = seq
                    self.checker.compare(partition, seq, coordinator._engine)


async def _end(agent: Agent, at_once: bool) -> None:
    agent.stop() if at_once else agent.finish()


class _ToHistory(logging.Handler):
    """Log lines are part of what happened, and one that tells of a defect is a violation."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process()
        self._world.history.note(process.name if process else "", "logs", self.format(record))
        cause = record.exc_info[1] if record.exc_info else None
        if cause is not None and not isinstance(cause, FlowError):
            self._world.fail(Violation(record.getMessage()), cause)


@contextmanager
def _logged(world: World) -> Iterator[None]:
    log, handler = logging.getLogger("flow"), _ToHistory(world)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def _seeded(world: World) -> Iterator[None]:
    """Clocks, random numbers and what tells processes apart come from the simulation, for the code under test."""
    chance = random.Random(world.seed + 1)

    def now() -> float:
        process = current_process()
        return EPOCH_MS / 1000 + world.loop.time() + (process.clock_offset if process else 0.0)

    def now_ns() -> int:
        return int(now() * 1e9)

    def token_hex(size: int = 16) -> str:
        return f"{chance.getrandbits(8 * size):0{2 * size}x}"

    def pid() -> int:
        process = current_process()
        return process.pid if process else 0

    def boot_id() -> str:
        process = current_process()
        return process.host if process else ""

    with (
        mock.patch.object(time, "time", now),
        mock.patch.object(time, "time_ns", now_ns),
        mock.patch.object(secrets, "token_hex", token_hex),
        mock.patch.object(secrets, "choice", chance.choice),
        mock.patch.object(os, "getpid", pid),
        mock.patch.object(os, "kill", world.signal),
        mock.patch("flowrun.lease._boot_id", boot_id),
        # processes are killed all the time, which no item is to be blamed for
        mock.patch("flowrun.engine.tasks.MAX_CRASHES", 1_000_000),
        mock.patch("flowrun.engine.ranges.MAX_CRASHES", 1_000_000, create=True),
    ):
        yield


def simulate(seed: int) -> Ending:
    """Runs the simulation of a seed: the same every time, with the same hash seed of Python."""
    world = World(seed)
    with _seeded(world), _logged(world):
        try:
            world.loop.run(world.main())
        except Stuck as error:
            world.fail(Violation(str(error)))
    violation = world.checker.violation
    if violation is None and world.loop.failures:
        context: dict[str, Any] = world.loop.failures[0]
        violation = Violation(f"an exception that nobody handled: {context}")
        violation.__cause__ = context.get("exception")
    return Ending(
        seed, violation, world.history.happenings, world.loop.time(),
        world.loop.steps, sum(len(client.accepted) for client in world.clients), world.troubles,
    )  # fmt: skip
