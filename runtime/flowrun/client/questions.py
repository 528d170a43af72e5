"""Questions to all coordinators and nodes: what runs, who lives."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from flowrun.messages import Approval, BackfillState, Listing, MessageError, Presence, Query, pack, unpack
from flowrun.partitions import partitions
from flowrun.transport import Transport

from .mailbox import close_notes
from .slas import SlaReport, report_of
from .status import RunList, TriggerList

__all__ = ["Questions"]

#: coordinators answer at once: one that did not within this time is not there, in seconds
_ANSWER_SECONDS = 1.0
#: partitions that are not numbered (runs that a command line leads) answer within this time of the others, in seconds
_OTHERS_SECONDS = 0.05


class Questions:
    """Of one client. `count`: partitions of the environment."""

    def __init__(self, transport: Transport, client: str, count: int) -> None:
        self._transport, self._client, self._count = transport, client, count
        #: question -> the answers so far
        self._answers: dict[str, asyncio.Queue[Listing]] = {}

    def listing(self, answer: Listing) -> None:
        """A coordinator answers."""
        queue = self._answers.get(answer.id)
        if queue is not None:
            queue.put_nowait(answer)

    async def runs(self, flow: str, limit: int) -> RunList:
        """What runs, as all coordinators tell."""
        answers = await self._ask(Query(client=self._client, id=secrets.token_hex(8), flow=flow, limit=limit))
        silent = [name for name in partitions(self._count) if name not in answers]
        found = [run for answer in answers.values() for run in answer.runs]
        found.sort(key=lambda run: (run.submitted_ms, run.run), reverse=True)
        total = sum(answer.total for answer in answers.values())
        paused = {pause.flow: pause for answer in answers.values() for pause in answer.paused}
        return RunList(
            runs=tuple(found[:limit]), total=total, silent=tuple(silent),
            paused=tuple(paused[name] for name in sorted(paused)),
        )  # fmt: skip

    async def run(self, run: str, partition: str) -> Listing | None:
        """What the run's coordinator knows of it; None: there is no answer."""
        question = Query(client=self._client, id=secrets.token_hex(8), run=run, limit=1)
        answers = await self._ask(question, partition)
        found = [answer for answer in answers.values() if answer.runs]
        return found[0] if found else answers.get(partition)

    async def approvals(self, run: str, partition: str, limit: int) -> tuple[list[Approval], tuple[str, ...]]:
        """What waits for a decision, the oldest first: in a run, or in all (of a partition); and the partitions whose
        coordinator did not answer."""
        question = Query(client=self._client, id=secrets.token_hex(8), run=run, limit=limit, approvals=True)
        answers = await self._ask(question, partition)
        found = [approval for answer in answers.values() for approval in answer.approvals]
        found.sort(key=lambda approval: (approval.since_ms, approval.run))
        wanted = (partition,) if partition else partitions(self._count)
        return found[:limit], tuple(name for name in wanted if name not in answers)

    async def backfills(self, name: str, partition: str, limit: int) -> tuple[BackfillState, ...]:
        """How backfills stand (that of a name; of a partition), what began last first."""
        question = Query(client=self._client, id=secrets.token_hex(8), run=name, limit=limit, backfills=True)
        answers = await self._ask(question, partition)
        found = [state for answer in answers.values() for state in answer.backfills]
        return tuple(sorted(found, key=lambda state: state.began_ms, reverse=True))

    async def triggers(self, name: str, flow: str, partition: str, limit: int) -> TriggerList:
        """Triggers by name (the one of a name, with its last runs; those of a flow)."""
        question = Query(client=self._client, id=secrets.token_hex(8), run=name, flow=flow, limit=limit, triggers=True)
        answers = await self._ask(question, partition)
        found = sorted((one for answer in answers.values() for one in answer.triggers), key=lambda one: one.trigger)
        wanted = (partition,) if partition else partitions(self._count)
        return TriggerList(triggers=tuple(found[:limit]), silent=tuple(name for name in wanted if name not in answers))

    async def slas(self, flow: str, since_ms: int, limit: int) -> SlaReport:
        """What became of service levels (of a flow) since the day of this time."""
        question = Query(
            client=self._client, id=secrets.token_hex(8), flow=flow, limit=limit, slas=True, since_ms=since_ms
        )
        answers = await self._ask(question)
        silent = tuple(name for name in partitions(self._count) if name not in answers)
        return report_of(answers.values(), silent, limit)

    async def _ask(self, question: Query, partition: str = "") -> dict[str, Listing]:
        """The answers by partition: until all are there, or that of the one partition, or until time is over."""
        wanted = {partition} if partition else set(partitions(self._count))
        answers: dict[str, Listing] = {}
        queue = self._answers[question.id] = asyncio.Queue()
        try:
            await self._transport.notify("query", question.run or "all", pack(question))
            until = asyncio.get_running_loop().time() + _ANSWER_SECONDS
            async with asyncio.timeout_at(until) as patience:
                while True:
                    answer = await queue.get()
                    answers[answer.partition] = answer
                    if question.run and (answer.runs or answer.backfills or answer.triggers):
                        break
                    if wanted <= answers.keys():
                        patience.reschedule(min(until, asyncio.get_running_loop().time() + _OTHERS_SECONDS))
        except TimeoutError:
            pass  # whoever did not answer is not there
        finally:
            del self._answers[question.id]
        return answers

    async def nodes(self, seconds: float) -> tuple[Presence, ...]:
        """The nodes that say within this time that they live, by their names."""
        found: dict[str, Presence] = {}
        notes = await self._transport.listen("presence", "*")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _collect(notes, found)
        await close_notes(notes)
        return tuple(found[name] for name in sorted(found))


async def _collect(notes: AsyncIterator[bytes], found: dict[str, Presence]) -> None:
    async for data in notes:
        try:
            presence = unpack(data, Presence)
        except MessageError:
            continue  # of another version: it is not shown
        found[presence.node] = presence
