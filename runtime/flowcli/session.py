"""One run, from the command to its end: server, worker, coordinator and screen of `flowc run`.

The server and the worker process start first, for they take time without taking ours; the sources are compiled
meanwhile. Then the run is submitted to a partition of its own, which this process leads. The partition goes when the
run's record was read; when this process dies it stays, and `--resume` leads it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

import click
import msgspec
from flowc import plan as plans
from flowc.plan import Plan
from flowrun import values
from flowrun.client import Client, new_run_id
from flowrun.coordinator import Coordinator
from flowrun.errors import FlowError
from flowrun.messages import RunRecord, StateNote, StepNote
from flowrun.nats.transport import NatsTransport
from flowrun.parameters import ArgumentError, encode_arguments, parse_argument
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.worker.config import WorkerConfig
from flowrun.worker.supervisor import Supervisor

from .errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InputError
from .runs import Run, Runs
from .screen.report import show_end
from .screen.view import View, make_view
from .targets import find_root, load_target, queues_of, scan_queues

__all__ = ["Order", "run_order"]

#: between two looks at the clock for the screen, in seconds
_TICK_SECONDS = 0.06
#: after the record is there, the last notes may still be on their way, in seconds
_LAST_NOTES_SECONDS = 0.05

_EXIT_CODES = {"success": EXIT_OK, "cancelled": EXIT_INTERRUPTED}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    file: Path | None
    flow: str | None
    #: "name=value" each
    params: tuple[str, ...]
    #: a run to go on with
    resume: str | None
    #: a server, or None for an own one
    url: str | None
    env: str
    slots: int | None
    output: Literal["screen", "quiet", "json"]


def run_order(order: Order) -> int:
    """Runs it and shows it; gives the exit code. Raises InputError."""
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(_run(order))
    except ArgumentError as error:
        raise InputError(str(error)) from error
    except FlowError as error:
        raise InputError(str(error), place=order.url or "") from error


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _run(order: Order) -> int:
    if order.resume is not None:
        return await _resume(order, order.resume)
    root = find_root(order.file)
    _check_is_there(order.file)
    run = new_run_id()
    async with AsyncExitStack() as stack:
        if order.file is not None and order.file.suffix == ".flowplan":
            target = load_target(order.file, order.flow, root)
            node = await stack.enter_async_context(_Node.start(order, root, run, queues_of(target.plan)))
        else:
            node = await stack.enter_async_context(_Node.start(order, root, run, scan_queues(order.file, root)))
            target = load_target(order.file, order.flow, root)
            await node.serve(queues_of(target.plan))
        plan, args = target.plan, _arguments(order.params)
        given = _values(plan, args)
        encode_arguments(plan, given)  # says what is wrong before anything is submitted
        known = Run(
            run=run, flow=plan.flow, plan=plans.digest(plans.encode(plan)), args=args, url=order.url, env=order.env,
            partition=node.partition, state="running", started_ms=_now_ms(),
        )  # fmt: skip
        runs = Runs(root)
        runs.add(known, plans.write_file_bytes(plan))
        return await _Watched(order, node, runs, known, plan).follow(given, resumed=False)


async def _resume(order: Order, name: str) -> int:
    if order.file is not None or order.flow is not None or order.params:
        raise InputError("--resume goes on with a run as it was started", help="leave out the file, --flow and -p")
    root = find_root(None)
    runs = Runs(root)
    known, plan = runs.load(name)
    order = msgspec.structs.replace(order, url=order.url or known.url, env=known.env)
    async with _Node.start(order, root, known.run, queues_of(plan)) as node:
        return await _Watched(order, node, runs, known, plan).follow(_values(plan, known.args), resumed=True)


def _check_is_there(file: Path | None) -> None:
    """What can be said before a server is started."""
    if file is not None and not file.exists():
        raise InputError("there is no such file", place=str(file))


def _arguments(given: tuple[str, ...]) -> dict[str, str]:
    """The text of each parameter. Raises InputError."""
    found: dict[str, str] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise InputError(f"`-p {one}` has no value", help="write -p name=value")
        if name in found:
            raise InputError(f"the parameter `{name}` is given twice", place=f"-p {one}")
        found[name] = text
    return found


def _values(plan: Plan, args: dict[str, str]) -> dict[str, object]:
    """The values of the arguments; unknown ones stay text, for `encode_arguments` to refuse. Raises ArgumentError."""
    kinds = {param.name: plan.types[param.type] for param in plan.params}
    return {name: parse_argument(name, text, kinds[name]) if name in kinds else text for name, text in args.items()}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Node:
    """What executes a run: a server (an own one, unless there is a URL) and a worker process."""

    def __init__(self, order: Order, root: Path, run: str, url: str) -> None:
        self.partition = f"local-{run}"
        self.url = url
        self.slots = order.slots or os.cpu_count() or 1
        self.settings = Settings(env=order.env)
        self._root, self._run = root, run
        self._queues: frozenset[str] = frozenset()
        self.worker: Supervisor | None = None

    @classmethod
    @asynccontextmanager
    async def start(cls, order: Order, root: Path, run: str, queues: frozenset[str]) -> AsyncIterator[_Node]:
        async with AsyncExitStack() as stack:
            url = order.url
            if url is None:
                server = EmbeddedServer(root / ".flow")
                stack.push_async_callback(server.stop)
                url = await server.start()
            node = cls(order, root, run, url)
            stack.push_async_callback(node._stop)
            await node.serve(queues)
            yield node

    async def serve(self, queues: frozenset[str]) -> None:
        """Makes sure that a worker serves these queues."""
        if queues <= self._queues:
            return
        await self._stop()
        self._queues = queues
        config = WorkerConfig(
            url=self.url, env=self.settings.env, partition=self.partition, queues=tuple(sorted(queues)),
            slots=self.slots, root=str(self._root), python=_python_folders(self._root), name=f"cli-{self._run}",
            ack_wait=self.settings.ack_wait,
        )  # fmt: skip
        self.worker = Supervisor(config)
        await self.worker.start()

    async def _stop(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.stop()


def _python_folders(root: Path) -> tuple[str, ...]:
    """`python` of flow.toml. What is wrong in the file, the compiler tells."""
    if not (root / "flow.toml").is_file():
        return ()
    from flowc.catalog import Findings  # a single file does not need them
    from flowc.project_file import read_project_file

    return read_project_file(root / "flow.toml", Findings()).python


class _Watched:
    """A run that this process leads and shows."""

    def __init__(self, order: Order, node: _Node, runs: Runs, known: Run, plan: Plan) -> None:
        self._order, self._node, self._runs, self._known, self._plan = order, node, runs, known, plan
        self._view: View = make_view(order.output, plan)
        self._interrupts = 0

    async def follow(self, given: dict[str, object], *, resumed: bool) -> int:
        """Leads the run to its end and shows it; gives the exit code."""
        node, run = self._node, self._known.run
        transport = await NatsTransport.connect(node.url, node.settings, "flowc run")
        client = Client(transport, node.partition)
        try:
            record = await client.result(run) if resumed else None
            if record is None:
                record = await self._lead(transport, client, given, resumed)
            result = await _plain_result(record, transport)
            self._runs.save(msgspec.structs.replace(self._known, state=record.state, ended_ms=record.ended_ms))
            await transport.drop_partition(node.partition)
        finally:
            await transport.close()
        show_end(self._order.output, record, result, self._plan)
        return _EXIT_CODES.get(record.state, EXIT_FAILED)

    async def _lead(
        self, transport: NatsTransport, client: Client, given: dict[str, object], resumed: bool
    ) -> RunRecord:
        """Leads the partition until the run's record is there."""
        node, run = self._node, self._known.run
        assert node.worker is not None
        coordinator = Coordinator(transport, node.partition, node.slots, node.settings)
        notes = await client.watch(run)
        async with _Helpers() as helpers:
            helpers.add(self._show(notes))
            helpers.add(self._tick())
            helpers.add(node.worker.wait())
            if not resumed or not await transport.last_seq(node.partition):
                await client.submit(self._plan, given, run)
            helpers.add(coordinator.run())
            self._listen(client)
            self._view.start(run, resumed)
            try:
                record = await helpers.first(client.wait(run))
                await asyncio.sleep(_LAST_NOTES_SECONDS)
                self._view.state(_notes_of(record), time.monotonic())
            finally:
                self._unlisten()
                self._view.stop()
        return record

    async def _show(self, notes: AsyncIterator[Any]) -> None:
        async for note in notes:
            if isinstance(note, StateNote):
                self._view.state(note, time.monotonic())
            else:
                self._view.log(note)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._view.tick(time.monotonic())

    # ---- Ctrl-C

    def _listen(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted, client)

    def _unlisten(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _interrupted(self, client: Client) -> None:
        """The first cancels the run, the second kills whatever runs."""
        self._interrupts += 1
        if self._interrupts > 1:
            self._kill()
        self._view.message("cancelling; Ctrl-C again kills")
        self._cancelling = asyncio.ensure_future(client.cancel(self._known.run, "interrupted"))

    def _kill(self) -> NoReturn:
        """Ends this process and its worker at once; the server dies with us, and its store stays."""
        self._view.stop()
        if self._node.worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._node.worker.pid, signal.SIGKILL)
        click.echo(f"killed; `flowc run --resume {self._known.run}` goes on", err=True)
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)


class _Helpers:
    """Tasks beside the main one; they end with the block, and an error of one of them ends the wait."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> _Helpers:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def first(self, work: Coroutine[Any, Any, RunRecord]) -> RunRecord:
        """The result of `work`; raises what a helper raises before."""
        main = asyncio.create_task(work)
        self._tasks.append(main)
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task is not main and task.done():
                task.result()
        return await main


async def _plain_result(record: RunRecord, transport: NatsTransport) -> object:
    """The run's value, with what lies in the blob store fetched."""
    stored: dict[str, bytes] = {}
    missing = values.references([record.result])
    while missing:
        found = await asyncio.gather(*(transport.get_blob(blob.digest) for blob in missing))
        stored |= {blob.digest: data for blob, data in zip(missing, found, strict=True)}
        missing = [blob for blob in values.references(found) if blob.digest not in stored]
    return values.decode_plain(record.result, stored.__getitem__)


def _notes_of(record: RunRecord) -> StateNote:
    """The record's steps as a note: whatever notes were lost, the last picture is right."""
    steps = (
        StepNote(step.step, None, step.state, step.attempts, step.seconds, step.error.message if step.error else "")
        for step in record.steps
        if step.index is None
    )
    return StateNote(record.run, record.state, tuple(steps))
