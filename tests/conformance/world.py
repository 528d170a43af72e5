"""Runs cases: on a node in memory, in virtual time, or on one node on a real server for all of them.

What a worker begins is seen by its slots: so programs need no tasks that tell what they do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowc.pipeline import compile_paths
from flowc.plan import Plan, decode
from flowc.project import find_project
from flowc.types import Type
from flowrun.client import Run as Handle
from flowrun.errors import FlowError
from flowrun.memory import run_virtual
from flowrun.messages import RunRecord, WorkItem
from flowrun.nats.transport import NatsTransport
from flowrun.parameters import parse_argument
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.ended import Ended
from flowrun.worker.inline import InlineSlot
from flowrun.worker.job import Job
from flowrun.worker.slot import Slot
from flowrun.worker.steps import step_of

from tests.support.node import Connect, Node, memory_server

from .cases import Act, Case, Run, Spec, Start

__all__ = ["Nats", "Outcome", "Plans", "in_memory"]

#: seconds in which a case must have ended, besides those that it says it takes; in memory, of virtual time
LIMIT = 20
#: queues that the programs name
QUEUES = ("default", "bulk", "mail")
SLOTS = 12


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    #: None: it was refused
    record: RunRecord | None
    value: Any = None
    #: every attempt that a worker began, in order; times from the first submission
    starts: tuple[Start, ...] = ()
    #: seconds from the first submission to the end, as the client saw it
    ended: float = 0.0
    #: why it was refused
    refusal: str = ""
    #: what refused each act; "": nothing
    refused: tuple[str, ...] = ()
    #: lines that its tasks wrote, as far as they were to be looked at
    log: tuple[str, ...] = ()


class Plans:
    """The flows of the files, compiled when they are wanted."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, Plan]] = {}

    def get(self, path: Path, flow: str) -> Plan:
        """Raises KeyError: there is no such flow."""
        if path not in self._known:
            found = compile_paths(find_project(path.parent), [path])
            errors = [one for one in found.diagnostics if one.severity == "error"]
            assert not errors, errors
            self._known[path] = {flow.flow: flow.plan for flow in found.plans}
        return self._known[path][flow]


# ---- one node --------------------------------------------------------------------------------------------------------


class _Seen:
    """The attempts that were begun, by run."""

    def __init__(self) -> None:
        self.starts: dict[str, list[tuple[float, str, tuple[int, ...]]]] = {}
        self._plans: dict[str, Plan] = {}

    def add(self, data: dict[str, bytes]) -> None:
        for digest, plan in data.items():
            if digest not in self._plans:
                self._plans[digest] = decode(plan)

    def begins(self, item: WorkItem, digest: str, index: int) -> None:
        name, settings = step_of(item, self._plans[digest])
        if settings is None:
            return  # an expression
        place = item.index_of(index)
        known = () if place is None else (place,) if isinstance(place, int) else place
        self.starts.setdefault(item.run, []).append((asyncio.get_running_loop().time(), name, known))


class _SeeingSlot(InlineSlot):
    """Tells what it begins, and takes the loop's time for the clock."""

    def __init__(self, root: Path, seen: _Seen, clock: Callable[[], float] | None) -> None:
        super().__init__(root, **({} if clock is None else {"clock": clock}))
        self._seen = seen

    def begin(self, job: Job, plan_data: Any, expected: float | None) -> None:
        self._seen.add(plan_data)
        super().begin(job, plan_data, expected)

    async def _attempt(self, item: WorkItem, digest: str, index: int) -> Ended:
        self._seen.begins(item, digest, index)
        return await super()._attempt(item, digest, index)


class _SeeingNode(Node):
    """A node whose slots tell what they begin."""

    def __init__(
        self,
        connect: Connect,
        root: Path,
        clock: Callable[[], float] | None = None,
        settings: Settings | None = None,
        processes: bool = False,
    ) -> None:
        slots = 2 if processes else SLOTS
        super().__init__(connect, root=root, slots=slots, queues=QUEUES, processes=processes, settings=settings)
        self.seen = _Seen()
        self._clock = clock

    def _slot(self) -> Slot:
        if self._processes:
            return super()._slot()
        return _SeeingSlot(self._root, self.seen, self._clock)


async def _play(node: _SeeingNode, plans: Plans, case: Case) -> list[Outcome]:
    """All runs of a case, together."""
    begun = asyncio.get_running_loop().time()
    first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return list(await asyncio.gather(*(_one(node, plans, case, run, begun, first) for run in case.runs)))


async def _submit(node: _SeeingNode, plans: Plans, case: Case, run: Run, first: asyncio.Future[str]) -> Handle:
    """Starts a run, or the first one again. Raises FlowError."""
    plan = plans.get(case.path, case.runs[0].flow if run.flow == "rerun" else run.flow)
    kinds = {param.name: plan.types[param.type] for param in plan.params}
    args = {name: _argument(name, value, kinds[name]) for name, value in run.args.items() if name in kinds}
    if run.flow != "rerun":
        return await node.client.submit(plan, args, **run.options)
    old = await first
    await node.client.wait(old)
    more = dict(run.args)
    other = plans.get(case.path.parent / more["plan"], plan.flow) if "plan" in more else None
    return await node.client.rerun(old, more.get("from", ()), args, plan=other, whole=more.get("whole", False))


async def _one(
    node: _SeeingNode, plans: Plans, case: Case, run: Run, begun: float, first: asyncio.Future[str]
) -> Outcome:
    loop = asyncio.get_running_loop()
    await _until(begun + run.at)
    try:
        handle = await _submit(node, plans, case, run, first)
    except FlowError as error:
        return Outcome(record=None, refusal=str(error))
    if run is case.runs[0]:
        first.set_result(handle.id)
    acting = [asyncio.create_task(_act(node, handle.id, act, begun)) for act in run.acts]
    record = await handle.wait()
    ended = loop.time() - begun
    refused = tuple(await asyncio.gather(*acting))
    starts = tuple(
        Start(step=step, index=index, at=at - begun) for at, step, index in node.seen.starts.get(handle.id, ())
    )
    value = await node.client.value(record)
    log = await _log(node, handle.id, run.expected.log)
    return Outcome(record=record, value=value, starts=starts, ended=ended, refused=refused, log=log)


async def _log(node: _SeeingNode, run: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of a run's log, once those that are wanted are there: they come on their own way."""
    lines: tuple[str, ...] = ()
    for _ in range(50 if wanted else 0):
        notes = [note.text async for note in node.client.lines(run)]
        lines = tuple("".join(notes).splitlines())
        if set(wanted) <= set(lines):
            break
        await asyncio.sleep(0.1)
    return lines


def _argument(name: str, value: Any, kind: Type) -> Any:
    if value is None:
        return None
    return parse_argument(name, value if isinstance(value, str) else json.dumps(value), kind)


async def _until(time: float) -> None:
    wait = time - asyncio.get_running_loop().time()
    if wait > 0:
        await asyncio.sleep(wait)


async def _act(node: _SeeingNode, run: str, act: Act, begun: float) -> str:
    """What refused it, or ""."""
    await _until(begun + act.at)
    client, more = node.client, act.value if isinstance(act.value, dict) else {}
    try:
        match act.what:
            case "signal":
                await client.signal(run, act.name, act.value)
            case "emit":
                subject, _, key = act.name.partition("/")
                await client.emit(subject, act.value, key=key)
            case "approve":
                await client.approve(run, act.name, **{"by": "ada", **more})
            case "reject":
                await client.reject(run, act.name, **{"by": "ada", **more})
            case "cancel":
                await client.cancel(run, act.name)
            case "pause":
                await client.pause(run, **more)
            case "resume":
                await client.resume(run, **more)
            case "pause_flow":
                await client.pause_flow(act.name, **more)
            case "resume_flow":
                await client.resume_flow(act.name, **more)
            case "mark":
                await client.mark(run, act.name, **more)
            case _:
                raise AssertionError(f"nobody can do `{act.what}`")
    except FlowError as error:
        return str(error)
    return ""


#: in virtual time hours must pass quickly: what nodes do from time to time, they do rarely
_SELDOM = Settings(lease=6_000.0, lease_renewal=600.0, presence=600.0, revoke_again=600.0)


def in_memory(root: Path, plans: Plans, case: Case) -> list[Outcome]:
    """The outcomes of a case's runs, in virtual time. Raises TimeoutError."""

    async def play() -> list[Outcome]:
        connect = memory_server(_SELDOM)
        epoch = (await connect()).server.now_ms() / 1000  # type: ignore[attr-defined]
        loop = asyncio.get_running_loop()
        async with _SeeingNode(connect, root, lambda: epoch + loop.time(), _SELDOM) as node:
            await node.client._outbox.open(node.partition)  # which tells the server's clock
            return await asyncio.wait_for(_play(node, plans, case), LIMIT + 2 * case.seconds)

    return run_virtual(play())


class Nats:
    """One node on a real server for all cases, and in an environment of its own one with processes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._server = EmbeddedServer(folder)
        self._loop.run_until_complete(self._start(root))

    async def _start(self, root: Path) -> None:
        await self._server.start()

        async def node(settings: Settings, processes: bool) -> _SeeingNode:
            async def connect() -> NatsTransport:
                return await NatsTransport.connect(self._server.url, settings)

            return await _SeeingNode(connect, root, settings=settings, processes=processes).__aenter__()

        self._node = await node(Settings(), False)
        self._processes = await node(Settings(env="processes"), True)

    def play(self, plans: Plans, specs: list[Spec], wanted: Callable[[Case], bool]) -> dict[str, Any]:
        """The outcomes of all cases, by `path:line`, or what went wrong; files side by side, a file's cases one after
        another (they share pools)."""
        return self._loop.run_until_complete(self._all(plans, specs, wanted))

    async def _all(self, plans: Plans, specs: list[Spec], wanted: Callable[[Case], bool]) -> dict[str, Any]:
        together = asyncio.Semaphore(10)
        found: dict[str, Any] = {}

        async def file(spec: Spec) -> None:
            async with together:
                for case in filter(wanted, spec.cases):
                    try:
                        found[f"{case.path}:{case.line}"] = await asyncio.wait_for(
                            _play(self._processes if case.in_processes else self._node, plans, case), LIMIT
                        )
                    except Exception as error:  # the case's test tells it
                        found[f"{case.path}:{case.line}"] = error

        await asyncio.gather(*(file(spec) for spec in specs))
        return found

    def close(self) -> None:
        self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def _stop(self) -> None:
        await self._node.__aexit__()
        await self._processes.__aexit__()
        await self._server.stop()
