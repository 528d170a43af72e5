"""Writes what happened to the inboxes, and says when it is there.

What is ready at the same moment goes out in one message per partition. The results of a bundle that has ended are
written at once; those of one that goes on wait a little for more. Of one bundle, one message is under way at a time, so
that a chain's results arrive in their order; of a partition, a few are.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from flowrun.errors import ValueTooLarge
from flowrun.messages import Event, Failure, Outcome, Replacement, Results, pack_events
from flowrun.transport import Transport

from .job import FULL, Job

__all__ = ["Outbox"]

#: what has ended is written at most this much later, in seconds
FLUSH_AFTER = 0.03
#: messages to one partition that are under way at the same time
MOST_UNDER_WAY = 4


_replacement = msgspec.msgpack.Decoder(Replacement)


class _Box:
    """What is for one partition."""

    def __init__(self) -> None:
        #: that have something to report
        self.jobs: dict[Job, None] = {}
        #: other events, each with what is done when it is there
        self.events: list[tuple[Event, Callable[[], Awaitable[None]]]] = []
        self.under_way = 0
        #: when it is written
        self.due: asyncio.TimerHandle | asyncio.Handle | None = None
        self.soon = False


class Outbox:
    """Of one worker. `reported` is awaited once per job, when all of it is in the inbox."""

    def __init__(
        self,
        transport: Transport,
        worker: str,
        reported: Callable[[Job], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._transport, self._worker, self._reported, self._spawn = transport, worker, reported, spawn
        self._boxes: dict[str, _Box] = {}
        #: jobs of which a message is under way
        self._sent: set[Job] = set()
        #: in the keys of its messages. No other life of a worker has them; nor are they made of bundles, for one that
        #: was given up may come to this worker again, and have other results
        self._prefix, self._messages = f"{worker}-{secrets.token_hex(6)}", 0
        self._idle = asyncio.Event()
        self._idle.set()

    def changed(self, job: Job) -> None:
        """It may have something to report, or has ended."""
        if job in self._sent:
            return  # looked at when that message is there
        if job.pending and not job.reports:
            return
        box = self._boxes.setdefault(job.bundle.partition, _Box())
        box.jobs[job] = None
        self._idle.clear()
        self._wake(box, job.bundle.partition, soon=not job.pending or job.size >= FULL)

    def tell(self, partition: str, event: Event, then: Callable[[], Awaitable[None]]) -> None:
        """Writes an event; `then` is awaited when it is there."""
        box = self._boxes.setdefault(partition, _Box())
        box.events.append((event, then))
        self._idle.clear()
        self._wake(box, partition, soon=True)

    async def drain(self) -> None:
        """Until all is written."""
        await self._idle.wait()

    def _wake(self, box: _Box, partition: str, *, soon: bool) -> None:
        if box.due is not None and (box.soon or not soon):
            return
        if box.due is not None:
            box.due.cancel()
        loop = asyncio.get_running_loop()
        box.soon = soon
        if soon:  # whatever else is ready in this round of the loop goes along
            box.due = loop.call_soon(self._flush, partition)
        else:
            box.due = loop.call_later(FLUSH_AFTER, self._flush, partition)

    def _flush(self, partition: str) -> None:
        box = self._boxes[partition]
        box.due = None
        while (box.jobs or box.events) and box.under_way < MOST_UNDER_WAY:
            events: list[Event] = []
            jobs: list[Job] = []
            then: list[Callable[[], Awaitable[None]]] = []
            for event, act in box.events:
                events.append(event)
                then.append(act)
            box.events.clear()
            size = 0
            while box.jobs and size < FULL:
                job = next(iter(box.jobs))
                del box.jobs[job]
                if job.abandoned:
                    continue
                size += job.size
                outcomes = job.take_outcomes()
                if outcomes:
                    events.append(_results(job.bundle.id, self._worker, outcomes))
                jobs.append(job)
            if not jobs and not events:
                break
            self._sent.update(jobs)
            box.under_way += 1
            self._messages += 1
            self._spawn(self._write(partition, events, f"{self._prefix}/{self._messages}", jobs, then))

    async def _write(
        self,
        partition: str,
        events: Sequence[Event],
        key: str,
        jobs: Sequence[Job],
        then: Sequence[Callable[[], Awaitable[None]]],
    ) -> None:
        if events:
            await self._append(partition, events, key)
        box = self._boxes[partition]
        box.under_way -= 1
        self._sent.difference_update(jobs)
        ended = [job for job in jobs if not job.pending and not job.reports]
        for job in jobs:
            if job.pending or job.reports:
                self.changed(job)
        if (box.jobs or box.events) and box.due is None:
            self._wake(box, partition, soon=True)
        for act in then:
            await act()
        for job in ended:
            await self._reported(job)
        if not self._sent and not any(b.jobs or b.events or b.under_way for b in self._boxes.values()):
            self._boxes.clear()
            self._idle.set()

    async def _append(self, partition: str, events: Sequence[Event], key: str) -> None:
        """In parts, if the server does not take it as one message."""
        try:
            await self._transport.append(partition, pack_events(events), key)
        except ValueTooLarge as error:
            for number, part in enumerate(_parts(events, error)):
                await self._append(partition, part, f"{key}/{number}")


def _results(bundle: str, worker: str, outcomes: tuple[Outcome, ...]) -> Results:
    """With the plans that replace tasks: the coordinator loads them before it decides."""
    replaced = [_replacement.decode(outcome.value).plan for outcome in outcomes if outcome.state == "replaced"]
    return Results(bundle, worker, outcomes, tuple(dict.fromkeys(replaced)) if replaced else ())


def _parts(events: Sequence[Event], error: ValueTooLarge) -> list[Sequence[Event]]:
    """The same, in smaller messages. A single outcome that is too large fails."""
    if len(events) > 1:
        half = len(events) // 2
        return [events[:half], events[half:]]
    (event,) = events
    if not isinstance(event, Results):
        raise error
    outcomes = event.outcomes
    if len(outcomes) > 1:
        half = len(outcomes) // 2
        return [[_results(event.bundle, event.worker, part)] for part in (outcomes[:half], outcomes[half:])]
    (outcome,) = outcomes
    if outcome.error is not None and outcome.error.type == "ResultTooLarge":
        raise error
    failure = Failure("ResultTooLarge", f"the result cannot be written: {error}", retryable=False)
    return [[Results(event.bundle, event.worker, (_failed(outcome, failure),))]]


def _failed(outcome: Outcome, failure: Failure) -> Outcome:
    return msgspec.structs.replace(outcome, state="failed", value=b"\xc0", error=failure)
