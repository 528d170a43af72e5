"""The client of a chaos run: submits pieces of work at a steady pace, cancels some, and waits for every end. It says to
random programs what they wait for, and pauses some of them.

It sits behind a way to the servers that may be cut, and tells only what it was told: a submission counts as accepted
when the server's acknowledgement came.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import random
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project
from flowrun.client import Client
from flowrun.client.run import Run
from flowrun.errors import FlowError
from flowrun.messages import RunRecord, pack, unpack
from flowrun.records import packed_record
from flowrun.transport import Transport
from msgspec.structs import replace

from tests.sim.programs import Program, program
from tests.sim.telling import ByClient, tell

from .history import End, Submission
from .kinds import Piece, draw, step_value

__all__ = ["Load", "compiled"]

_PACE_SECONDS = 0.05
#: between two tries to cancel
_AGAIN_SECONDS = 0.3
#: records that are read at the same time
_READS = 16


def compiled(project: Path) -> dict[str, Plan]:
    """The plans of a project's flows by name."""
    found = compile_paths(find_project(project), [project / "main.flow"])
    errors = [one for one in found.diagnostics if one.severity == "error"]
    assert not errors, errors
    return {flow.flow: flow.plan for flow in found.plans}


class Load:
    """`programs`: numbers of random programs that are among what is submitted."""

    def __init__(
        self, client: Client, chance: random.Random, project: Path, plans: Mapping[str, Plan], programs: Sequence[int]
    ) -> None:
        self._client, self._chance, self._plans = client, chance, plans
        self._programs: dict[int, Program] = {number: program(number) for number in programs}
        if str(project) not in sys.path:
            sys.path.insert(0, str(project))
        import effects  # type: ignore[import-not-found]  # of the project, as the workers import it

        self._functions = effects
        self._count = 0
        self._prefix = f"c{chance.randrange(16**6):06x}"
        #: tasks that were submitted
        self.tasks = 0
        self.submissions: dict[str, Submission] = {}
        self.handles: dict[str, Run] = {}
        self.ends: dict[str, End] = {}
        self.problems: list[str] = []
        self._working: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float, tasks: int) -> None:
        """Submits for so long, about so many tasks."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (elapsed := loop.time() - start) < seconds or self.tasks < tasks:
            while self.tasks < tasks * min(elapsed / seconds, 1):
                piece = draw(self._chance, tuple(self._programs))
                self.tasks += piece.tasks
                self._start(self._submit(piece))
            await asyncio.sleep(_PACE_SECONDS)

    @property
    def open(self) -> list[str]:
        """Accepted runs of which the client does not know the end, and what is on its way."""
        waiting = [name for name, one in self.submissions.items() if one.accepted_ms and name not in self.ends]
        return waiting + [task.get_name() for task in self._working]

    async def finish(self, seconds: float) -> None:
        """Waits until all has ended, at most so long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.open and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.2)

    async def give_up(self) -> None:
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    # ---- submitting

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problems.append(f"the client failed: {type(error).__name__}: {error}")

    async def _submit(self, piece: Piece) -> None:
        self._count += 1
        number, now = self._count, time.time() * 1000
        options: dict[str, Any] = {}
        if piece.again is not None:
            options["key"] = f"key {number}"
        not_before = 0.0
        if piece.delay and self._chance.random() < 0.5:
            not_before = now + piece.delay * 1000
            options["at"] = dt.datetime.fromtimestamp(not_before / 1000, dt.UTC)
        elif piece.delay:
            not_before = now + piece.delay * 1000
            options["delay"] = piece.delay
        run = self._hand_over(piece, number, options)
        submission = Submission(
            run=run.id, kind=piece.kind, at_ms=now, accepted_ms=0, state=piece.state, values=(piece.value,),
            failed_step=piece.failed_step, effects=piece.effects, program=piece.program, not_before_ms=not_before,
            tasks=piece.tasks,
        )  # fmt: skip
        self.submissions[run.id] = submission
        self.handles[run.id] = run
        if not await self._accepted(run):
            return
        if piece.again is not None:
            await self._submit_again(piece, number, options)
        if piece.cancel_after:
            self._start(self._cancel(run, piece.cancel_after))
        if piece.program < 0:
            await self._end(run)
            return
        voice = ByClient(self._client, run.id, self._chance, lambda: run.id in self.ends)
        pause = self._chance.choice((0.0, 0.0, 0.0, 0.05, 0.5))
        self._start(tell(voice, self._programs[piece.program].report.expected, self._chance, pause))
        await self._end(run)

    def _hand_over(self, piece: Piece, number: int, options: dict[str, Any]) -> Run:
        """Gives it to the client, in one of the ways that there are."""
        client = self._client
        if not piece.flow and piece.program < 0:
            function = getattr(self._functions, piece.task)
            given = dict(piece.settings)
            if given.get("executor") != "thread":
                given["timeout"] = "2m"
            if not options and self._chance.random() < 0.5 and not piece.settings:
                return client.submit_task_nowait(function, **piece.args)
            return client.task(function, **given, **options).nowait(**piece.args)
        plan, args = self._plans.get(piece.flow), piece.args
        if piece.program >= 0:
            plan, args = self._programs[piece.program].plan, self._programs[piece.program].args
        assert plan is not None
        name = f"{self._prefix}-{number}"
        client.submit(plan, args, run=name, **options).add_done_callback(_heard)
        return client.run(name)

    async def _accepted(self, run: Run) -> bool:
        try:
            await run.accepted()
        except FlowError:
            return False  # it may have arrived or not
        self._change(run.id, accepted_ms=time.time() * 1000)
        return True

    async def _submit_again(self, piece: Piece, number: int, options: dict[str, Any]) -> None:
        """The same key, with another argument: whichever comes first counts."""
        await asyncio.sleep(self._chance.choice((0, 0, 0.05, 1, 3)))
        assert piece.again is not None
        other = dataclasses.replace(piece, args={**piece.args, "n": piece.again})
        run = self._hand_over(other, number, options)
        first = next(iter(self.submissions[run.id].values))
        self._change(run.id, values=(first, step_value(piece.again)))
        await self._accepted(run)

    async def _cancel(self, run: Run, after: float) -> None:
        await asyncio.sleep(after)
        while True:
            try:
                await self._client.cancel(run.id)
            except FlowError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._change(run.id, cancelled_ms=time.time() * 1000)
            return

    def _change(self, run: str, **changes: Any) -> None:
        self.submissions[run] = replace(self.submissions[run], **changes)

    # ---- ends

    async def _end(self, run: Run) -> None:
        while True:
            try:
                record = await run.wait()
                break
            except FlowError:  # the server was away for longer than the client's patience
                await asyncio.sleep(_AGAIN_SECONDS)
        await self._note_end(run.id, record)

    async def _note_end(self, run: str, record: RunRecord) -> None:
        value = await self._client.value(record) if record.state == "success" else None
        self.ends[run] = End(run=run, at_ms=time.time() * 1000, told=pack(record), stored=b"", value=value)

    async def read_stored(self, transport: Transport, runs: Sequence[str]) -> None:
        """Reads what the server has of all these runs."""
        limit = asyncio.Semaphore(_READS)
        await asyncio.gather(*map(partial(self._read_one, transport, limit), runs))

    async def _read_one(self, transport: Transport, limit: asyncio.Semaphore, run: str) -> None:
        async with limit:
            stored = await transport.get_result(run)
        if stored is None:
            return
        stored = packed_record(stored)
        known = self.ends.get(run)
        if known is None:
            record = unpack(stored, RunRecord)
            value = await self._client.value(record) if record.state == "success" else None
            known = End(run=run, at_ms=0, told=b"", stored=b"", value=value)
        self.ends[run] = replace(known, stored=stored)


def _heard(accepted: asyncio.Future[Run]) -> None:
    """What refuses a submission is told to who asks the handle, too."""
    if not accepted.cancelled():
        accepted.exception()
