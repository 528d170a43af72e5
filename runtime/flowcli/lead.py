"""Leads a run to its end and shows it: coordinator, client and screen in one process.

The run has a partition of its own. It goes when the run's record was read; when this process dies it stays, and
`flowc run --resume` leads it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec
from flowc.plan import ChildNode, Plan
from flowrun.capacity import Capacity
from flowrun.client import Client, RunEvents, note_of
from flowrun.coordinator import Coordinator
from flowrun.errors import FlowError
from flowrun.messages import RunRecord, SetVar, StateNote, pack_events
from flowrun.nats.transport import NatsTransport
from flowrun.variables import VariableStore, event_of

from .errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, InputError
from .local import Node
from .output import say
from .run_variables import encoded_variables, kinds_of_variables
from .runs import RUNNING, SUBMITTING, Run, Runs
from .screen.report import show_end
from .screen.view import Output, View, make_view
from .targets import queues_of

__all__ = ["Leader"]

T = TypeVar("T")

#: between two looks at the clock for the screen, in seconds
_TICK_SECONDS = 0.06
#: after the record is there, the last lines of tasks may still be on their way, in seconds
_LAST_NOTES_SECONDS = 0.01
#: version of a variable that was given for the run: nothing that the environment sets is newer
_NEWEST = 2**62

_EXIT_CODES = {"success": EXIT_OK, "cancelled": EXIT_INTERRUPTED}


class Leader:
    """A run that this process leads and shows."""

    def __init__(
        self, output: Output, node: Node, runs: Runs, known: Run, plan: Plan,
        again: tuple[str, tuple[str, ...]] | None = None,
    ) -> None:  # fmt: skip
        #: the run that it goes on with, and steps that run again
        self._again = again
        self._output, self._node, self._runs, self._known, self._plan = output, node, runs, known, plan
        self._view: View = make_view(output, plan)
        self._interrupts = 0
        self._told_to_cancel = asyncio.Event()

    async def follow(self, given: Mapping[str, object], *, resumed: bool) -> int:
        """Leads the run to its end and shows it; gives the exit code."""
        node, run = self._node, self._known.run
        transport = await NatsTransport.connect(node.url, node.settings, "flowc run")
        try:
            await transport.open_partition(node.partition)
            client = await Client.over(transport, node.settings, node.partition)
            record = await client.record(run) if resumed else None
            if record is None and self._known.state not in (SUBMITTING, RUNNING):
                message = f"the run `{run}` ended ({self._known.state}), and its result is no longer kept"
                raise InputError(message, help="start it anew")
            if record is None:
                record = await self._resumable(self._lead(transport, client, given, resumed))
            result = await client.value(record)
            self._remember(record.state, record.ended_ms)
            await node.stop()  # first: a worker would make anew what is dropped
            await transport.drop_partition(node.partition)
        finally:
            await transport.close()
        show_end(self._output, record, result, self._plan)
        return _EXIT_CODES.get(record.state, EXIT_FAILED)

    async def _lead(
        self, transport: NatsTransport, client: Client, given: Mapping[str, object], resumed: bool
    ) -> RunRecord:
        """Leads the partition until the run's record is there."""
        node, run = self._node, self._known.run
        await node.serve(queues_of(self._plan))
        capacity = Capacity(node.partition, node.settings, fixed=node.slots)
        coordinator = Coordinator(
            transport, node.partition, group=node.partition, capacity=capacity, settings=node.settings,
            node=f"cli-{run}", fresh_workers=True, private=True,
        )  # fmt: skip
        notes = client.events(run)
        async with _Helpers() as helpers:
            helpers.add(self._tick())
            helpers.add(self._cancel(client))
            for watcher in node.watchers():
                helpers.add(watcher)
            helpers.add(coordinator.run())
            await helpers.first(coordinator.ready.wait())
            if self._output == "screen":
                await notes.open()
            if self._known.state == SUBMITTING:
                await self._put_variables(transport)
                if self._again is None:
                    await client.submit(self._plan, given, run=run)
                else:
                    before, steps = self._again
                    await client.rerun(before, steps, given, plan=self._plan, run=run)
                self._remember(RUNNING)
            elif not (await transport.inbox(node.partition)).last_seq:
                raise InputError(f"nothing is left of the run `{run}` on {node.url}", help="start it anew")
            self._listen()
            self._view.start(run, resumed)
            if self._output == "screen":
                helpers.add(self._show(notes))
            try:
                record = await helpers.first(client.run(run).wait())
                if self._output == "screen":
                    await asyncio.sleep(_LAST_NOTES_SECONDS)
                self._view.state(note_of(record), time.monotonic())
                if self._starts_others():
                    self._view.message("waiting for the runs that it started")
                    await helpers.first(coordinator.idle())
            finally:
                self._unlisten()
                self._view.stop()
        return record

    async def _put_variables(self, transport: NatsTransport) -> None:
        """Those that the run reads go into its partition before it: what was given, else what the environment has."""
        kinds = kinds_of_variables(self._plan)
        if not kinds:
            return
        store, given = VariableStore(transport), encoded_variables(self._known.variables, kinds)
        found = [(name, await store.get(name)) for name in kinds if name not in given]
        events = [event_of(name, one) for name, one in found if one is not None]
        events += [SetVar(name, value, f"var/{name}", version=_NEWEST) for name, value in given.items()]
        if events:
            await transport.append(self._node.partition, pack_events(events), f"variables/{self._node.partition}")

    def _starts_others(self) -> bool:
        """Its detached calls are runs of their own, which nobody else leads."""
        plans = (self._plan, *self._plan.children.values())
        nodes = (node for plan in plans for block in plan.blocks for node in block.nodes)
        return any(isinstance(node, ChildNode) and node.detached for node in nodes)

    async def _resumable(self, lead: Coroutine[Any, Any, RunRecord]) -> RunRecord:
        """Says with an error that the run is not lost, once it was submitted."""
        try:
            return await lead
        except FlowError as error:
            help = f"`flowc run --resume {self._known.run}` goes on" if self._known.state == RUNNING else ""
            raise InputError(str(error), help=help) from error

    def _remember(self, state: str, ended_ms: int | None = None) -> None:
        self._known = msgspec.structs.replace(self._known, state=state, ended_ms=ended_ms)
        self._runs.save(self._known)

    async def _show(self, notes: RunEvents) -> None:
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

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupted)

    def _unlisten(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _interrupted(self) -> None:
        """The first cancels the run, the second kills whatever runs."""
        self._interrupts += 1
        if self._interrupts > 1:
            self._kill()
        self._view.message("cancelling; Ctrl-C again kills")
        self._told_to_cancel.set()

    async def _cancel(self, client: Client) -> None:
        """A server that does not take it (a full disk) would never end the run: the error ends the wait."""
        await self._told_to_cancel.wait()
        await client.cancel(self._known.run, reason="interrupted")

    def _kill(self) -> NoReturn:
        """Ends this process and its worker at once; the server dies with us, and its store stays."""
        self._view.stop()
        if self._node.worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._node.worker.pid, signal.SIGKILL)
        say(f"killed; `flowc run --resume {self._known.run}` goes on", err=True)
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

    async def first(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`; raises what a helper raises before."""
        main = asyncio.create_task(work)
        try:
            while not main.done():
                await asyncio.wait([main, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.remove(task)
                    task.result()
            return await main
        finally:
            main.cancel()
