"""A coordinator that is no more than its side of the talk with clients: it reads inboxes and ends every run as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from flowrun.client.mailbox import close_notes
from flowrun.messages import (
    Cancel,
    Ended,
    Listing,
    Query,
    RunRecord,
    RunSummary,
    StateNote,
    StepNote,
    Submit,
    Watch,
    pack,
    unpack,
    unpack_events,
)
from flowrun.transport import Transport

Value = Callable[[Submit], bytes]


def record_of(submit: Submit, value: bytes, state: str = "success") -> RunRecord:
    return RunRecord(
        run=submit.run, flow="f", state=state, result=value, error=None, failed_step=None, started_ms=1, ended_ms=2,
        steps=(),
    )  # type: ignore[arg-type]  # fmt: skip


class FakeLeader:
    """Leads partitions: ends each run with `value(submission)`, unless it is held back, and tells who is to be told."""

    def __init__(self, transport: Transport, partitions: Iterable[str], value: Value = lambda submit: b"\x01") -> None:
        self.transport, self.partitions, self.value = transport, tuple(partitions), value
        #: runs that have not ended, and those that were ever submitted
        self.open: dict[str, Submit] = {}
        self.seen: list[Submit] = []
        self.known: set[str] = set()
        self.cancelled: list[Cancel] = []
        self.watched: list[Watch] = []
        #: messages of the inboxes
        self.messages = 0
        #: runs do not end by themselves
        self.hold = False
        #: nobody is told
        self.mute = False
        #: no question is answered
        self.deaf = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> FakeLeader:
        for partition in self.partitions:
            await self.transport.open_partition(partition)
            self._tasks.append(asyncio.create_task(self._read(partition)))
        self._tasks.append(asyncio.create_task(self._listen("watch")))
        self._tasks.append(asyncio.create_task(self._listen("query")))
        await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, partition: str) -> None:
        async for batch in self.transport.read(partition, 0):
            self.messages += len(batch)
            events = [event for record in batch for event in unpack_events(record.data)]
            self.cancelled += [event for event in events if isinstance(event, Cancel)]
            submitted = {event.run: event for event in events if isinstance(event, Submit)}
            new = [submit for submit in submitted.values() if submit.run not in self.known]
            self.known |= submitted.keys()
            self.seen += new
            self.open |= {submit.run: submit for submit in new}
            if not self.hold:
                await self.end([submit.run for submit in new])

    async def end(self, runs: Iterable[str], state: str = "success") -> None:
        """Ends these runs, as a coordinator does."""
        ended = [self.open.pop(run) for run in runs]
        records = [record_of(submit, self.value(submit), state) for submit in ended]
        await self.transport.put_results([(record.run, pack(record)) for record in records], 60)
        for client in {submit.client for submit in ended} - {""}:
            told = tuple(record for record, submit in zip(records, ended, strict=True) if submit.client == client)
            await self.tell(client, Ended(records=told))

    async def tell(self, client: str, note: msgspec.Struct) -> None:
        if not self.mute:
            await self.transport.notify("to", client, pack(note))

    async def _listen(self, topic: str) -> None:
        notes = await self.transport.listen(topic, "*")
        try:
            async for data in notes:
                await (self._watched(unpack(data, Watch)) if topic == "watch" else self._asked(unpack(data, Query)))
        finally:
            await close_notes(notes)

    async def _watched(self, watch: Watch) -> None:
        self.watched.append(watch)
        if watch.run in self.open and watch.steps:
            step = StepNote(step="s", index=None, state="running")
            await self.tell(watch.client, StateNote(run=watch.run, state="running", steps=(step,)))
        elif watch.run in self.known and watch.run not in self.open:
            data = await self.transport.get_result(watch.run)
            assert data is not None
            await self.tell(watch.client, Ended(records=(unpack(data, RunRecord),)))

    async def _asked(self, query: Query) -> None:
        if self.deaf:
            return
        for partition in self.partitions:
            runs = tuple(
                RunSummary(run=run, flow="f", submitted_ms=i, steps={"running": 1})
                for i, run in enumerate(self.open)
                if not query.run or query.run == run
            )
            here = runs if partition == self.partitions[0] else ()
            await self.tell(query.client, Listing(query.id, partition, here[: query.limit], len(here)))
