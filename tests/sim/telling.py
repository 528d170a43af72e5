"""What a simulated client says to its runs while they live: signals, events, decisions; that they pause, and go on.

Everything may be said twice, and in any order. What a run still waits for after a while is said once more.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from flowrun import values
from flowrun.client import Client
from flowrun.client.errors import Refused, UnknownRun
from flowrun.errors import FlowError
from flowrun.memory import MemoryTransport
from flowrun.messages import Control, Decision, Event, Raised, Signal, pack_events
from flowrun.partitions import partition_of, partitions

from tests.reference.outside import Expected, agreed, brought

__all__ = ["ByClient", "ByEvents", "Voice", "tell"]

#: the first time, a signal is sent within so many seconds
_EARLY = 6.0
#: rounds after which everything is said once more
_AGAIN = 6


async def tell(
    voice: Voice, expected: Expected, chance: random.Random, pause: float = 0.0, *, haste: float = 1.0
) -> None:
    """Until the run has a result. `pause`: it is paused so long after it was accepted, in seconds; 0: it is not.
    `haste`: all takes so much of its time."""
    waits = bool(expected.signals or expected.events or expected.questions)
    talk = [
        asyncio.create_task(_signal(voice, name, number, chance, haste)) for number, name in enumerate(expected.signals)
    ]
    if pause:
        talk.append(asyncio.create_task(_interrupt(voice, pause, haste * chance.uniform(0.1, 4.0))))
    count = 0
    while (waits or pause) and not voice.has_ended():
        await asyncio.sleep(haste * chance.uniform(0.5, 3.0))
        count += 1
        for subject in expected.events:
            await voice.emit(subject)
        await voice.decide(expected.questions)
        if count % _AGAIN == 0:
            await voice.go_on(f"again{count}")
            for number, name in enumerate(expected.signals):
                await voice.send(name, f"{number}/{count}")
    for task in talk:
        await task


async def _signal(voice: Voice, name: str, number: int, chance: random.Random, haste: float) -> None:
    """At some time, and maybe twice."""
    again = chance.uniform(0.1, 5.0) if chance.random() < 0.3 else 0.0
    await asyncio.sleep(haste * chance.uniform(0.0, _EARLY))
    await voice.send(name, f"{number}")
    if again:
        await asyncio.sleep(haste * again)
        await voice.send(name, f"{number}")


async def _interrupt(voice: Voice, after: float, length: float) -> None:
    await asyncio.sleep(after)
    await voice.pause()
    await asyncio.sleep(length)
    await voice.go_on("first")


class Voice(ABC):
    """Somebody who speaks to one run. `has_ended`: there is nobody to speak to any more."""

    def __init__(self, run: str, chance: random.Random, has_ended: Callable[[], bool]) -> None:
        self._run, self._chance, self.has_ended = run, chance, has_ended

    @abstractmethod
    async def send(self, name: str, id: str) -> None: ...
    @abstractmethod
    async def emit(self, subject: str) -> None: ...
    @abstractmethod
    async def decide(self, questions: dict[str, str]) -> None: ...
    @abstractmethod
    async def pause(self) -> None: ...
    @abstractmethod
    async def go_on(self, id: str) -> None: ...


class ByEvents(Voice):
    """Writes events, and wants no answers. Ids of what is said are the same in every life of the client."""

    def __init__(
        self,
        transport: MemoryTransport,
        run: str,
        count: int,
        chance: random.Random,
        has_ended: Callable[[], bool],
        *,
        early: bool,
    ) -> None:
        """`count`: partitions; `early`: the run may not have come yet."""
        super().__init__(run, chance, has_ended)
        self._transport, self._early = transport, early
        self._partition, self._all = partition_of(run, count), partitions(count)
        self._count = 0

    async def send(self, name: str, id: str) -> None:
        value = values.encode(brought(name))
        signal = Signal(self._run, name, value, f"{self._run}/signal/{id}", early=self._early)
        await self._append(self._partition, signal, signal.id)

    async def emit(self, subject: str) -> None:
        raised = Raised(subject, "", values.encode(brought(subject)), f"{self._run}/event/{self._fresh()}")
        for partition in self._all:
            await self._append(partition, raised, raised.id)

    async def decide(self, questions: dict[str, str]) -> None:
        for step, title in questions.items():
            decision = Decision(self._run, step, agreed(title), None, f"{self._run}/decision/{self._fresh()}")
            await self._append(self._partition, decision, decision.id)

    async def pause(self) -> None:
        await self._append(self._partition, Control("pause", self._run, id=f"{self._run}/pause"), f"{self._run}/pause")

    async def go_on(self, id: str) -> None:
        control = Control("resume", self._run, id=f"{self._run}/resume/{id}")
        await self._append(self._partition, control, control.id)

    def _fresh(self) -> str:
        self._count += 1
        return f"{self._chance.getrandbits(64):x}/{self._count}"

    async def _append(self, partition: str, event: Event, key: str) -> None:
        """Until it is there; maybe twice, for the server forgot the key of the first."""
        for copy in range(1 + (self._chance.random() < 0.2)):
            while True:
                try:
                    await self._transport.append(partition, pack_events([event]), f"{key}/{copy}")
                    break
                except FlowError:
                    await asyncio.sleep(self._chance.uniform(0.1, 2.0))


class ByClient(Voice):
    """Uses the product's own client, which waits for answers. What it sends twice are two signals."""

    def __init__(self, client: Client, run: str, chance: random.Random, has_ended: Callable[[], bool]) -> None:
        super().__init__(run, chance, has_ended)
        self._client = client

    async def send(self, name: str, id: str) -> None:
        await self._say(lambda: self._client.signal(self._run, name, brought(name)))

    async def emit(self, subject: str) -> None:
        await self._say(lambda: self._client.emit(subject, brought(subject)))

    async def decide(self, questions: dict[str, str]) -> None:
        if not questions:
            return
        try:
            found = await self._client.approvals(self._run)
        except FlowError:
            return
        for approval in found:
            answer = self._client.approve if agreed(approval.title) else self._client.reject
            await self._say(lambda answer=answer, step=approval.step: answer(self._run, step))

    async def pause(self) -> None:
        await self._say(lambda: self._client.pause(self._run))

    async def go_on(self, id: str) -> None:
        await self._say(lambda: self._client.resume(self._run))

    async def _say(self, what: Callable[[], Awaitable[object]]) -> None:
        """Until somebody heard it."""
        while not self.has_ended():
            try:
                await what()
                return
            except (Refused, UnknownRun):
                return
            except FlowError:
                await asyncio.sleep(self._chance.uniform(0.1, 2.0))
