"""A run, as its submitter and whoever waits for it hold it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowrun.messages import RunRecord

from .by_hand import StepEnd
from .status import RunStatus

if TYPE_CHECKING:
    from .client import Client
    from .events import RunEvents
    from .outbox import Letter

__all__ = ["Run"]


class Run:
    """A handle of a run: `await run.result()` gives its value."""

    __slots__ = ("__weakref__", "_client", "id", "letter", "record", "returns", "since", "told", "waiter", "waiters")

    def __init__(self, client: Client, id: str, letter: Letter | None, returns: Any, told: bool) -> None:
        #: sorts by the time of the submission; with an idempotency key, it follows from the key
        self.id = id
        #: how it ended, once that is known here
        self.record: RunRecord | None = None
        self._client = client
        #: what its submission travels in; None: somebody else submitted it
        self.letter = letter
        #: the annotation that its value is converted to; None: it is given as plain data
        self.returns = returns
        #: coordinators tell of its end unasked
        self.told = told
        #: who waits for its value, and since when, in loop time; mostly there is one
        self.waiter: asyncio.Future[Any] | None = None
        self.since = 0.0
        #: those who wait besides, for its end (True: for its value)
        self.waiters: list[tuple[asyncio.Future[Any], bool]] | None = None

    def __repr__(self) -> str:
        return f"<Run {self.id}{f': {self.record.state}' if self.record is not None else ''}>"

    def belongs_to(self, client: Client) -> bool:
        """It was made by this client."""
        return self._client is client

    def accepted(self) -> asyncio.Future[Run]:
        """Done once the server has the submission: from then on it cannot be lost. Raises TransportError, StoreError,
        Busy."""
        future: asyncio.Future[Run] = self._client.loop.create_future()
        if self.letter is None:
            future.set_result(self)
        else:
            self.letter.tell(future, self)
        return future

    def result(self, timeout: float | None = None) -> asyncio.Future[Any]:
        """The value of the run once it has ended: plain data, or of the type that the task's function is annotated
        with. `timeout` in seconds. Raises RunFailed, WaitTimeout, what `accepted` raises."""
        if timeout is not None or not self.told:
            return self._client.loop.create_task(self._result(timeout))
        future = self._client.waits.value_of(self)  # without a task of its own: many wait
        if self.letter is not None:
            self.letter.guard(future)
        return future

    async def _result(self, timeout: float | None) -> Any:
        await self.wait(timeout)
        return await self._client.waits.value_of(self)

    async def wait(self, timeout: float | None = None) -> RunRecord:
        """The record of the run once it has ended, however it did. `timeout` in seconds. Raises WaitTimeout, what
        `accepted` raises."""
        if self.letter is not None and not self.letter.is_accepted:
            await self.accepted()
        return await self._client.waits.end_of(self, timeout)

    async def cancel(self, step: str = "") -> None:
        """Asks for its end, or for that of a step or a box of steps; returns when that cannot be lost."""
        await self.accepted()
        await self._client.cancel(self.id, step)

    async def signal(self, name: str, value: object = None, *, by: str = "") -> None:
        """As `Client.signal`."""
        await self.accepted()
        await self._client.signal(self.id, name, value, by=by)

    async def approve(self, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """As `Client.approve`."""
        await self.accepted()
        return await self._client.approve(self.id, step, note=note, by=by)

    async def reject(self, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """As `Client.reject`."""
        await self.accepted()
        return await self._client.reject(self.id, step, note=note, by=by)

    async def pause(self, *, note: str = "", by: str = "") -> None:
        """As `Client.pause`."""
        await self.accepted()
        await self._client.pause(self.id, note=note, by=by)

    async def resume(self, *, note: str = "", by: str = "") -> str:
        """As `Client.resume`."""
        await self.accepted()
        return await self._client.resume(self.id, note=note, by=by)

    async def mark(
        self, step: str, end: StepEnd = "success", value: object = None, *, note: str = "", by: str = ""
    ) -> None:
        """As `Client.mark`."""
        await self.accepted()
        await self._client.mark(self.id, step, end, value, note=note, by=by)

    async def rerun(self, from_steps: Sequence[str] = (), args: Mapping[str, object] | None = None, **more: Any) -> Run:
        """As `Client.rerun`."""
        await self.accepted()
        return await self._client.rerun(self.id, from_steps, args, **more)

    async def status(self) -> RunStatus:
        """How it stands. Raises UnknownRun."""
        await self.accepted()
        return await self._client.status(self.id)

    def events(self) -> RunEvents:
        """What happens in it: changes of its steps, lines that its tasks write; ends with the run. For eyes only: some
        may be lost or come joined."""
        return self._client.events(self.id)
