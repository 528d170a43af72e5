"""A simulated client: submits runs at random times, some of them twice, some delayed, some with a key, and cancels.

What it is told decides what it may rely on: a submission that was acknowledged is accepted, and must end right. One
whose answer was an error may have happened or not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flowc.plan import Plan
from flowrun.client import Client
from flowrun.errors import FlowError
from flowrun.memory import MemoryTransport
from flowrun.messages import Cancel, RunRecord, Submit, pack_events
from flowrun.partitions import partition_of
from flowrun.run_ids import run_id_of_key
from flowrun.settings import Settings

from .history import History
from .invariants import Violation
from .programs import Program
from .telling import ByClient, ByEvents, Voice, tell

__all__ = ["SimClient", "Submission", "draw_submission"]

#: the last submission is made by then, in seconds
_LAST = 12.0


@dataclass(frozen=True)
class Submission:
    run: str
    program: Program
    #: when it is made, in loop time
    at: float
    #: it waits so long in the server before it counts, in seconds; 0: it does not
    delay: float
    #: seconds after which it expires if it has not begun; 0: never
    expires: float
    key: str
    #: the client cancels it so long after it was accepted, in seconds; 0: it does not
    cancel: float
    #: and then only this step; "": the run
    cancel_step: str = ""
    #: the client pauses it so long after it was accepted, in seconds, and resumes it soon; 0: it does not
    pause: float = 0.0


def draw_submission(chance: random.Random, client: str, number: int, one: Program) -> Submission:
    """The client's submission of this number, of that program."""
    key = f"key {client} {number}" if chance.random() < 0.2 else ""
    run = run_id_of_key(one.plan.flow, key) if key else f"r{client}{number}"
    return Submission(
        run=run,
        program=one,
        at=chance.uniform(0, _LAST),
        delay=chance.uniform(0.1, 5.0) if chance.random() < 0.15 else 0.0,
        expires=chance.uniform(0.5, 20.0) if chance.random() < 0.1 else 0.0,
        key=key,
        cancel=chance.uniform(0.01, 6.0) if chance.random() < 0.15 else 0.0,
        cancel_step=chance.choice(one.steps) if one.steps and chance.random() < 0.4 else "",
        pause=chance.uniform(0.01, 4.0) if chance.random() < 0.15 else 0.0,
    )


class SimClient:
    """Lives longer than its process: what was acknowledged is known, whoever dies then."""

    def __init__(
        self, name: str, settings: Settings, chance: random.Random, plans: dict[str, Plan],
        submissions: Sequence[Submission],
    ) -> None:  # fmt: skip
        self.name = name
        self._settings, self._partitions = settings, settings.partitions
        self._chance = chance
        #: it is the product's own client, and waits for the ends of its runs
        self._real = random.Random(f"{chance.random()} real").random() < 0.3
        #: runs whose end it was told
        self._told: dict[str, RunRecord] = {}
        #: runs that may have no end
        self.doubtful: set[str] = set()
        self._todo = list(submissions)
        #: all that it submits
        self.drawn = tuple(submissions)
        for submission in self._todo:
            plans[submission.program.digest] = submission.program.plan
        self.accepted: dict[str, Submission] = {}
        #: a cancellation was asked for, whether it was acknowledged or not
        self.cancelled: set[str] = set()
        self._cancels: list[Submission] = []

    @property
    def done(self) -> bool:
        waits = self._real and any(run not in self._told and run not in self.doubtful for run in self.accepted)
        return not self._todo and not self._cancels and not waits

    async def run(self, transport: MemoryTransport, history: History) -> None:
        """Until all is submitted; goes on where a process before it stopped."""
        if self._real:
            await self._use_client(transport, history)
            return
        await asyncio.gather(
            *(self._submit(transport, history, one) for one in list(self._todo)),
            *(self._cancel(transport, history, one) for one in list(self._cancels)),
            *(self._tell(transport, one) for one in self._living(transport)),
        )

    def _living(self, transport: MemoryTransport) -> list[Submission]:
        """What it submitted that has no result; some of it may be lost."""
        return [one for run, one in self.accepted.items() if transport.server.result(run) is None]

    async def _use_client(self, transport: MemoryTransport, history: History) -> None:
        client = await Client.over(transport, self._settings)
        waits = [one for run, one in self.accepted.items() if run not in self._told and run not in self.doubtful]
        await asyncio.gather(
            *(self._use(client, transport, history, one) for one in list(self._todo)),
            *(self._wait(client, history, one.run) for one in waits),
            *(self._cancel_by(client, one) for one in list(self._cancels)),
            *(self._tell(transport, one, client) for one in self._living(transport)),
        )
        await client.close()

    async def _use(self, client: Client, transport: MemoryTransport, history: History, one: Submission) -> None:
        """Submits a run, maybe cancels it, and waits for its end."""
        await asyncio.sleep(max(one.at - asyncio.get_running_loop().time(), 0.0))
        options: dict[str, Any] = {"key": one.key} if one.key else {"run": one.run}
        options |= {"delay": one.delay} if one.delay else {}
        options |= {"expires": one.expires} if one.expires else {}
        while True:
            try:
                run = await client.submit(one.program.plan, one.program.args, **options)
                break
            except FlowError as error:
                history.note(self.name, "tries again", f"{one.run}: {error}")
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        assert run.id == one.run
        self.accepted[one.run] = one
        self._todo.remove(one)
        history.note(self.name, "is told", f"{one.run} is accepted")
        if one.cancel:
            self._cancels.append(one)
        await asyncio.gather(
            self._wait(client, history, one.run),
            self._tell(transport, one, client),
            *([self._cancel_by(client, one)] if one.cancel else []),
        )

    async def _tell(self, transport: MemoryTransport, one: Submission, client: Client | None = None) -> None:
        """Says what the run waits for."""

        def has_ended() -> bool:  # also one that may be lost: others wait until it ends
            return transport.server.result(one.run) is not None

        if client is not None:
            voice: Voice = ByClient(client, one.run, self._chance, has_ended)
        else:
            early = bool(one.delay)
            voice = ByEvents(transport, one.run, self._partitions, self._chance, has_ended, early=early)
        await tell(voice, one.program.report.expected, self._chance, one.pause)

    async def _wait(self, client: Client, history: History, run: str) -> None:
        while run not in self.doubtful:
            try:
                self._told[run] = await client.wait(run)
                history.note(self.name, "is told", f"{run} is {self._told[run].state}")
                return
            except FlowError as error:
                history.note(self.name, "waits again", f"{run}: {error}")
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))

    async def _cancel_by(self, client: Client, one: Submission) -> None:
        await asyncio.sleep(one.cancel)
        self.cancelled.add(one.run)
        while True:
            try:
                if one.delay:  # a cancellation that fails half-way may leave a delayed run without a record
                    self.doubtful.add(one.run)
                await client.cancel(one.run, one.cancel_step)
                break
            except FlowError:
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        self._cancels.remove(one)

    def check(self, run: str, stored: RunRecord) -> None:
        """What it was told of a run is what was stored."""
        told = self._told.get(run)
        if told is not None and (told.state, told.result) != (stored.state, stored.result):
            raise Violation(f"{self.name} was told that {run} ended as {told}, and what is stored says {stored}")

    async def _submit(self, transport: MemoryTransport, history: History, one: Submission) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(one.at - loop.time(), 0.0))
        partition = partition_of(one.run, self._partitions)
        expires_ms = transport.server.now_ms() + int(1000 * one.expires) if one.expires else 0
        event = Submit(
            run=one.run, plan=one.program.digest, args=one.program.packed_args, client=self.name,
            expires_ms=expires_ms, key=one.key,
        )  # fmt: skip
        while True:
            try:
                await transport.put_blob(one.program.digest, one.program.data)
                if one.delay:
                    at_ms = transport.server.now_ms() + int(1000 * one.delay)
                    await transport.append_at(partition, f"submit/{one.run}", pack_events([event]), at_ms)
                else:
                    for _ in range(1 + (self._chance.random() < 0.1)):
                        await transport.append(partition, pack_events([event]), f"submit/{one.run}")
                break
            except FlowError as error:
                history.note(self.name, "tries again", f"{one.run}: {error}")
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        self.accepted[one.run] = one
        self._todo.remove(one)
        history.note(self.name, "is told", f"{one.run} is accepted")
        if one.cancel:
            self._cancels.append(one)
        await asyncio.gather(
            self._tell(transport, one), *([self._cancel(transport, history, one)] if one.cancel else [])
        )

    async def _cancel(self, transport: MemoryTransport, history: History, one: Submission) -> None:
        await asyncio.sleep(one.cancel)
        self.cancelled.add(one.run)
        partition, event = partition_of(one.run, self._partitions), Cancel(run=one.run, step=one.cancel_step)
        while True:
            try:
                await transport.append(partition, pack_events([event]), f"cancel/{one.run}")
                break
            except FlowError:
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        self._cancels.remove(one)
