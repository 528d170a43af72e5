"""One simulation: a server, nodes that lead partitions, workers, clients, and whatever goes wrong, all from one seed.

For a while things go wrong: processes are killed between any two of their steps, paused, cut off and started again,
the server crashes, requests and notes are late, lost or doubled. Then all is quiet, every process lives, and what was
accepted must end, and end right. What must hold at every moment is checked at every moment (see `invariants`).
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from flowc.plan import Plan, decode
from flowrun import values
from flowrun.coordinator import Coordinator
from flowrun.errors import FlowError
from flowrun.leading import Leading
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import Bundle, RunRecord, WorkItem, unpack
from flowrun.partitions import partitions
from flowrun.records import packed_record
from flowrun.settings import Settings
from flowrun.worker.agent import Agent

from tests.reference.compare import differences

from .agent import make_agent, run_agent
from .checker import Checker
from .client import SimClient, Submission, draw_submission
from .deployed import Deployed
from .history import Happening, History
from .invariants import Violation, every_accepted_run_ends_right
from .loop import Process, SimLoop, Stuck
from .programs import COUNT, Program, program
from .stage import staged
from .trouble import Trouble, draw_faults
from .worker import GROUP, Habits, SimWorker

__all__ = ["Ending", "simulate"]

#: when nothing goes wrong any more, nothing may stand still for that time, in seconds
_PATIENCE = 100.0


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


class _Plans(dict[str, Plan]):
    """The plans of clients, and those that are stored while all runs: of runs that runs start, and of canvases."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def __missing__(self, digest: str) -> Plan:
        found = self[digest] = decode(self._world.server.blobs[digest])
        return found


class World:
    #: what disturbs it
    troubles: type[Trouble] = Trouble

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.loop = SimLoop()
        self.history = History(self.loop.time)
        self.plans: dict[str, Plan] = _Plans(self)
        self.machines: list[Machine] = []
        self.calm = False
        #: leader -> the message after which its state was checked last
        self._compared: dict[Coordinator, int] = {}
        self.trouble = self.troubles(self, seed)
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
            sync_lag=chance.choice((0.0, 2.0, 130.0)) if not self.trouble.disaster else 130.0,
            freeze_after=chance.choice((0.3, 1.0, 5.0)),
            ack_wait=chance.choice((3.0, 6.0)),
            answer_timeout=1.0,
            patience=10.0,
            bundle_items=chance.choice((1, 5, 500)),
            window_per_slot=chance.choice((1, 2)),
            audit=chance.choice((3.0, 10.0)),
        )
        self.faults = draw_faults(chance)
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
                hands_back=chance.choice((0.0, 0.1, 0.5)),
                transient=chance.choice((0.0, 0.2)),
                real=chance.random() < 0.3,
            )
            self._add(f"worker{number}", self._run_worker(habits))
        self.deployed = Deployed(self.seed, self.partitions)
        if self.deployed.is_there:
            self._add("deployer", self._deploy)
        self.clients: list[SimClient] = []
        for name, its_chance, submissions in self.draw_clients():
            client = SimClient(name, self.settings, its_chance, self.plans, submissions)
            self.clients.append(client)
            self._add(client.name, self._run_client(client))

    def draw_clients(self) -> Iterator[tuple[str, random.Random, list[Submission]]]:
        """Their names, their chance, and what they submit."""
        chance = self.chance
        # some simulations are about few programs, so that runs meet others of their flow; others about many
        numbers = chance.sample(range(COUNT), chance.choice((1, 2, 4, 16)))
        for client in range(chance.choice((1, 2))):
            its, name = random.Random(chance.random()), f"client{client}"
            drawn = (program(its.choice(numbers)) for _ in range(its.choice((1, 2, 4, 8))))
            yield name, its, [draw_submission(its, name, number, one) for number, one in enumerate(drawn)]

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
                self.loop.call_later(1.0, self.restart, machine, process, context=self.outside)
        except FlowError as error:
            self.history.note(process.name, "ends", str(error))
            self.loop.call_later(0.5, self.restart, machine, process, context=self.outside)
        except Exception as error:
            self.fail(Violation(f"{process.name} ended by {type(error).__name__}: {error}"), error)

    def restart(self, machine: Machine, process: Process) -> None:
        """As a supervisor does, unless somebody else did."""
        if machine.process is process:
            self.kill(machine)
            self.start(machine)

    def lives(self, pid: int) -> bool:
        """A process, by its id."""
        return self._by_pid[pid].alive

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

    async def _deploy(self, machine: Machine, transport: MemoryTransport) -> None:
        await self.deployed.deploy(transport)

    def begins(self, worker: str, bundle: Bundle, item: WorkItem, index: int, chained: tuple[int, ...]) -> None:
        self.checker.begins(worker, bundle, item, index, chained)

    def _run_client(self, client: SimClient) -> Callable[[Machine, MemoryTransport], Awaitable[None]]:
        async def main(machine: Machine, transport: MemoryTransport) -> None:
            await client.run(transport, self.history)

        return main

    # ---- its course

    async def main(self) -> None:
        self.outside = contextvars.copy_context()
        self.build()
        for partition in partitions(self.partitions):
            self.server.open_partition(partition)
        for machine in self.machines:
            self.start(machine)
        trouble = asyncio.create_task(self.trouble.make())
        self.trouble.plan_disaster()
        checks = random.Random(f"{self.seed} checks")
        while not trouble.done() and not self._is_over():
            await asyncio.sleep(0.5)
            self._check_work()
            if checks.random() < 0.2:
                self._check_state()
        trouble.cancel()
        self.trouble.end()
        ended, since = -1, self.loop.time()
        while not self._is_over() and self.loop.time() - since < _PATIENCE:
            await asyncio.sleep(0.5)
            self._check_work()
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
        return (
            all(client.done for client in self.clients)
            and all(
                self.server.result(run) is not None or run in client.doubtful
                for client in self.clients
                for run in client.accepted
            )
            and all(self.server.result(run) is not None for run in self._started())
            and (self.checker.disaster or self.deployed.is_over(self.server))
        )

    def _started(self) -> Iterator[str]:
        """Runs that runs started whose end is known."""
        doubtful = set().union(*(client.doubtful for client in self.clients))
        for run, event in self.checker.detached.items():
            if event.client.removeprefix("run ") not in doubtful and run not in doubtful:
                yield run

    def _check_ends(self) -> None:
        if not self.checker.disaster:
            try:
                self.deployed.check(self.server)
            except Violation as violation:
                self.fail(violation)
        for client in self.clients:
            for run, submission in client.accepted.items():
                if run in client.doubtful:
                    continue
                data = self.server.result(run)
                record = unpack(packed_record(data), RunRecord) if data is not None else None
                try:
                    every_accepted_run_ends_right(
                        run, submission.program, record, self.server.blobs,
                        cancelled=run in client.cancelled, expired=submission.expires,
                        in_part=bool(submission.cancel_step),
                    )  # fmt: skip
                    if record is not None:
                        client.check(run, record)
                        self.checker.check_undone(run, record)
                except Violation as violation:
                    self.fail(violation)
            for run in self._started():
                parent = self.checker.detached[run].client.removeprefix("run ")
                if parent in client.accepted:
                    self._check_started(run, client.accepted[parent].program)
            if not client.done:
                self.fail(Violation(f"{client.name} still waits, and all has ended"))

    def _check_started(self, run: str, program: Program) -> None:
        """A run that another one started ended right."""
        args = values.decode_plain(self.checker.detached[run].args, self.server.blobs.__getitem__)
        data = self.server.result(run)
        assert data is not None
        record = unpack(packed_record(data), RunRecord)
        report = program.report_of(record.flow.rpartition("/")[2].rpartition(":")[2], args)
        wrong = differences(report, record, "int", self.server.blobs.__getitem__, attempts=False)
        if wrong:
            self.fail(Violation(f"run {run} did not end as it must: {'; '.join(wrong)}"))

    def _check_rates(self) -> None:
        try:
            self.checker.check_rates()
        except Violation as violation:
            self.fail(violation)

    def _leaders(self) -> Iterator[tuple[str, int, Coordinator]]:
        """Those that did all that was asked for up to a message: partition, its sequence, who leads."""
        for machine in self.machines:
            for partition, coordinator in machine.leading._coordinators.items() if machine.leading else ():
                leads = self.checker.leads(machine.process.name, partition) and coordinator.ready.is_set()
                if leads and coordinator._settled:
                    yield partition, coordinator._audit.position, coordinator

    def _check_state(self) -> None:
        """The leaders' states are the folds of their inboxes."""
        for partition, seq, coordinator in self._leaders():
            if self._compared.get(coordinator, 0) < seq:
                self._compared[coordinator] = seq
                self.checker.compare(partition, seq, coordinator._engine)

    def _check_work(self) -> None:
        """What they owe is on its way."""
        for partition, seq, coordinator in self._leaders():
            self.checker.check_work(partition, seq, coordinator._engine.outstanding(), coordinator._dispatcher)


def simulate(world: World) -> Ending:
    """Runs a simulation: the same every time, with the same hash seed of Python."""
    with staged(world.seed, world.loop, world.history, world.lives, world.fail):
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
        world.seed, violation, world.history.happenings, world.loop.time(),
        world.loop.steps, sum(len(client.accepted) for client in world.clients), world.trouble.counts,
    )  # fmt: skip
