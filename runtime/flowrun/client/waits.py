"""Who waits for the end of which run.

A coordinator that ends a run tells the client that submitted it; of other runs it is asked to (`Watch`, every two
seconds for as long as somebody waits). Such notes may be lost, so stored records are looked for as well: every two
seconds those of a few runs that somebody waits for, in turn. Where one is found that way, more notes were lost: then
all handles have their turn, many in each round. However many wait, the effort is bounded; the fewer wait, the sooner a
lost note is made up for.

Handles are kept here weakly: a run that nobody looks at costs nothing, and one that ends before its result is asked for
has it then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any
from weakref import ref

from flowrun.errors import FlowError
from flowrun.messages import Ended, RunRecord, StateNote, Watch, pack
from flowrun.records import read_record
from flowrun.transport import Transport
from flowrun.wire import may_hold_blobs

from .errors import RunFailed, WaitTimeout
from .results import converted, decode_inline, plain_value
from .run import Run

__all__ = ["Waits"]

#: takes a note on the steps of a run
View = Callable[[StateNote], None]

#: between two rounds of asking and looking, in seconds
_ROUND_SECONDS = 2.0
#: records that are looked for in a round, and in one after another that found some
_FEW, _MANY = 100, 2_000
#: looks at the same time
_LOOKS = 32
#: runs that coordinators are asked about in a round
_WATCHES = 500
#: fewer handles are never swept
_SWEEP_FROM = 10_000


class Waits:
    """The runs that a client holds, and who waits for them."""

    def __init__(self, transport: Transport, client: str) -> None:
        self._transport, self._client = transport, client
        self._loop = asyncio.get_running_loop()
        self._handles: dict[str, ref[Run]] = {}
        #: with so many handles, those that nobody holds any more are swept out
        self._sweep_at = _SWEEP_FROM
        #: those that somebody waits for
        self._waiting: dict[str, Run] = {}
        #: run -> who wants to know of its steps
        self._views: dict[str, list[View]] = {}
        self._turn: deque[str] = deque()
        self._rounds: asyncio.Task[None] | None = None
        self._reads: set[asyncio.Task[RunRecord | None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks = asyncio.Semaphore(_LOOKS)

    # ---- runs

    def add(self, run: Run) -> None:
        """Its handle is told of its end."""
        self._handles[run.id] = ref(run)
        if len(self._handles) > self._sweep_at:
            self._handles = {name: held for name, held in self._handles.items() if held() is not None}
            self._sweep_at = max(2 * len(self._handles), _SWEEP_FROM)

    def get(self, run: str) -> Run | None:
        """The handle of a run that was not seen to end, if somebody holds it."""
        held = self._handles.get(run)
        return None if held is None else held()

    def value_of(self, run: Run) -> asyncio.Future[Any]:
        """The value of a run once we are told that it ended. Raises RunFailed, TransportError, StoreError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if run.record is not None:
            self._give(future, run, run.record)
        elif run.waiter is None or run.waiter.done():  # nobody yet, or it was given up
            run.waiter = future
            self._begin(run)
        else:
            self._add(run, future, True)
        return future

    def _give(self, future: asyncio.Future[Any], run: Run, record: RunRecord) -> None:
        """The value, or why there is none, to who waits for it."""
        if record.state != "success":
            future.set_exception(RunFailed(record))
        elif may_hold_blobs(record.result):
            task = self._loop.create_task(self._fetch(future, run, record))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            value = decode_inline(record.result)
            future.set_result(value if run.returns is None else converted(value, run.returns))

    async def _fetch(self, future: asyncio.Future[Any], run: Run, record: RunRecord) -> None:
        try:
            value = await plain_value(self._transport, record.result)
        except FlowError as error:
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(value if run.returns is None else converted(value, run.returns))

    async def end_of(self, run: Run, timeout: float | None) -> RunRecord:
        """The record of a run once it has ended. Raises WaitTimeout, TransportError, StoreError."""
        if run.record is None and not run.told:
            await self._look(run)
        if run.record is None:
            await self._wait(run, timeout)
        assert run.record is not None
        return run.record

    async def _wait(self, run: Run, timeout: float | None) -> None:
        waiter = self._loop.create_future()
        self._add(run, waiter, False)
        try:
            if not run.told:
                await self.watch(run.id)
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            raise WaitTimeout(f"run {run.id} had not ended after {timeout:g} s; it goes on") from None

    def _add(self, run: Run, waiter: asyncio.Future[Any], for_value: bool) -> None:
        if run.waiters is None:
            run.waiters = []
            self._begin(run)
        run.waiters.append((waiter, for_value))

    def _begin(self, run: Run) -> None:
        """Somebody waits for it, for the first time perhaps."""
        if run.id not in self._waiting:
            run.since = self._loop.time()
            self._waiting[run.id] = run
            if self._rounds is None:
                self._start()

    def ended(self, note: Ended) -> None:
        """A coordinator tells of runs that ended."""
        for record in note.records:
            self.end(record)
        for name in note.runs:
            run = self.get(name)
            if run is not None:
                self._read(run)

    def end(self, record: RunRecord) -> None:
        """A run ended."""
        held = self._handles.pop(record.run, None)
        run = None if held is None else held()
        if run is None:
            return
        run.record = record
        self._waiting.pop(record.run, None)
        if run.waiter is not None:
            if not run.waiter.done():
                self._give(run.waiter, run, record)
            run.waiter = None
        if run.waiters is not None:
            self._give_all(run, record)

    def _give_all(self, run: Run, record: RunRecord) -> None:
        for waiter, for_value in run.waiters or ():
            if waiter.done():
                continue
            if for_value:
                self._give(waiter, run, record)
            else:
                waiter.set_result(None)
        run.waiters = None

    # ---- views

    def view(self, run: str, view: View) -> None:
        """The view gets the notes on the steps of a run from now on, until `close_view`."""
        self._views.setdefault(run, []).append(view)
        self._start()

    def close_view(self, run: str, view: View) -> None:
        self._views[run].remove(view)
        if not self._views[run]:
            del self._views[run]

    def state(self, note: StateNote) -> None:
        """A coordinator tells of steps."""
        for view in self._views.get(note.run, ()):
            view(note)

    async def watch(self, run: str) -> None:
        """Asks a run's coordinator to tell of its end, and of its steps if there are views, for the next seconds."""
        note = Watch(run=run, client=self._client, steps=run in self._views)
        await self._transport.notify("watch", run, pack(note))

    # ---- rounds

    def _start(self) -> None:
        if self._rounds is None:
            self._rounds = self._loop.create_task(self._go_round())

    async def _go_round(self) -> None:
        some_are_lost = False
        try:
            while self._waiting or self._views:
                await asyncio.sleep(_ROUND_SECONDS)
                await self._ask()
                runs = self._next(self._handles, _MANY) if some_are_lost else self._next(self._waiting, _FEW)
                some_are_lost = any(await asyncio.gather(*map(self._look, runs)))
        except FlowError as error:  # the server was away for longer than any patience
            self._fail(error)
        finally:
            self._rounds = None

    def _fail(self, error: FlowError) -> None:
        for run in self._waiting.values():
            for waiter in _waiters(run):
                if not waiter.done():
                    waiter.set_exception(error)
            run.waiter = run.waiters = None
        self._waiting.clear()

    async def _ask(self) -> None:
        others = (name for name, run in self._waiting.items() if not run.told and name not in self._views)
        for name in [*self._views, *islice(others, _WATCHES)]:
            await self.watch(name)

    def _next(self, names: Iterable[str], most: int) -> list[Run]:
        """Those of these runs whose turn it is to be looked for."""
        if not self._turn:
            self._turn.extend(names)
        before = self._loop.time() - _ROUND_SECONDS / 2
        runs: list[Run] = []
        while self._turn and len(runs) < most:
            run = self.get(self._turn.popleft())
            if run is None or run.since > before:
                continue
            if run.id in self._waiting and all(waiter.done() for waiter in _waiters(run)):  # given up
                run.waiter = run.waiters = None
                del self._waiting[run.id]
            else:
                runs.append(run)
        return runs

    async def _look(self, run: Run) -> RunRecord | None:
        """The stored record of a run, if there is one."""
        async with self._looks:
            data = await self._transport.get_result(run.id)
            if data is None:
                return None
            record = await read_record(self._transport, data)
        self.end(record)
        return record

    def _read(self, run: Run) -> None:
        """Reads a record that was too large for a note."""
        task = self._loop.create_task(self._look(run))
        self._reads.add(task)
        task.add_done_callback(self._was_read)

    def _was_read(self, task: asyncio.Task[RunRecord | None]) -> None:
        self._reads.discard(task)
        if not task.cancelled():
            task.exception()  # the next round looks again

    async def close(self) -> None:
        """Whoever still waits is told that the client was closed."""
        self._fail(FlowError("the client was closed"))
        rounds = [self._rounds] if self._rounds is not None else []
        tasks: Iterable[asyncio.Task[Any]] = [*self._reads, *self._tasks, *rounds]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _waiters(run: Run) -> Iterator[asyncio.Future[Any]]:
    """All who wait for a run."""
    if run.waiter is not None:
        yield run.waiter
    for waiter, _ in run.waiters or ():
        yield waiter
