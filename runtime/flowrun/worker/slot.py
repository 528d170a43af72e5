"""A slot of a worker: runs jobs. What the agent needs of one, and what it needs of the agent.

`process_slot` has the one with an executor process, `code_slot` one with a process per code, `inline` one without, for
tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from flowrun.errors import FlowError
from flowrun.messages import Event, LogNote

from .frames import ExecutorKind
from .job import Job
from .unwanted import Unwanted

__all__ = ["ExecutorBroken", "Services", "Slot"]


class ExecutorBroken(FlowError):
    """Executor processes end before they are ready."""


class Services(Protocol):
    """What a slot needs of its agent."""

    async def get_blob(self, digest: str) -> bytes: ...

    async def put_blob(self, digest: str, data: bytes) -> None: ...

    async def get_cached(self, key: str) -> bytes:
        """b"" if there is none."""

    async def put_cached(self, key: str, data: bytes, ttl_ms: int) -> None: ...

    def log(self, note: LogNote) -> None: ...

    def tell(self, partition: str, event: Event) -> None:
        """Writes an event to the inbox of a partition."""

    def freed(self, slot: Slot) -> None:
        """It may have more room."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Runs beside the agent; what it raises ends the agent. None: the agent ends, and it is not run."""


class Slot(Protocol):
    """Runs jobs. Nothing waits but what is `async`."""

    kind: ExecutorKind
    #: units at the same time
    width: int

    @property
    def jobs(self) -> list[Job]:
        """Those that have not ended."""

    def knows(self, code: str) -> bool:
        """It may have a process for work of this code."""

    def start(self, services: Services, unwanted: Unwanted) -> None:
        """Before all else."""

    def make_job(self, make: Callable[[int], Job]) -> Job:
        """A job whose tokens are new to this slot; `make` is given the first."""

    async def warm_up(self) -> None:
        """Gets ready for a job, if it is not."""

    async def rest(self) -> None:
        """Ends what it has started, if there is no job, until there is one."""

    def room(self) -> int:
        """How many bundles it takes now."""

    def begin(self, job: Job, plan_data: Mapping[str, bytes], expected: float | None) -> None:
        """Executes a job, which tells how it goes. `expected`: how long it will take, in seconds."""

    def drop_unwanted(self) -> None:
        """Ends what is unwanted by now."""

    def abandon(self, job: Job) -> None:
        """Ends a job; nothing of it counts any more."""

    def finish(self) -> None:
        """Gives back what has not begun; takes no more."""

    def hand_back(self) -> None:
        """Gives back all, now and in future."""

    async def close(self) -> None: ...
