"""What the kinds of executors share: the jobs that came, the results that go, who speaks."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowrun import wire
from flowrun.errors import StoreError
from flowrun.messages import Bundle, WorkItem, unpack

from .ended import HAS_EXPIRED
from .execute import Ended, Executions
from .frames import (
    Bell,
    BlobReply,
    Drop,
    GetBlob,
    GetCached,
    Given,
    Interrupt,
    JobFrame,
    Log,
    PlanFrame,
    PutBlob,
    PutCached,
    Request,
    ToExecutor,
)
from .link import Link
from .logs import LogWriter
from .shared import NOT_RUN, SharedMemory
from .units import Units, follower

__all__ = ["HAS_EXPIRED", "WAS_DROPPED", "Core", "expired", "speaking"]

#: results wait at most this long for a bell, in seconds
BELL_EVERY = 0.003
#: of blobs that are kept, in bytes; the last one is always kept
BLOB_ROOM = 64 * 1024 * 1024

WAS_DROPPED = Ended(NOT_RUN, wire.NULL)
#: the token of the unit in whose thread or task this is
speaking: contextvars.ContextVar[int] = contextvars.ContextVar("flow_unit")


def expired(item: WorkItem) -> bool:
    """It did not begin in time."""
    return item.expires_ms > 0 and time.time() * 1000 > item.expires_ms


class Core:
    """One executor process."""

    def __init__(self, link: Link, tokens: int, memory: SharedMemory, root: Path) -> None:
        self.link, self.tokens, self.memory = link, tokens, memory
        self.executions = Executions(root, _AgentBlobs(self))
        self.writers: list[LogWriter] = []
        #: tokens of units that wrote something to them
        self._spoke: set[int] = set()
        #: bundles that came; tokens come in order, so those before the one that came last are dropped
        self._jobs: deque[Units] = deque()
        #: the token after the last one that is known
        self.end = 0
        #: followers that are not to be run
        self.dropped: set[int] = set()
        #: the unit that began last, for output that says no better whose it is
        self.latest = 0
        #: what is done with an answer to a request, and with an Interrupt
        self.on_reply: dict[int, Callable[[BlobReply], None]] = {}
        self.on_interrupt: Callable[[Interrupt], None] = lambda frame: None
        #: gets the answer to a request, whatever it takes
        self.ask: Callable[[Request], BlobReply] = self._ask
        self._requests = 0
        self._pid = os.getpid()
        #: since when results wait for a bell; 0: none do
        self._unrung = 0.0
        self._writing = threading.Lock()
        #: what time.monotonic() lacks to the time of day
        self._shift = 0.0

    # ---- what comes

    def read_frames(self) -> None:
        """Waits for one at least."""
        for frame in self.link.receive_all():
            self.handle(frame)

    def handle(self, frame: ToExecutor) -> None:
        if isinstance(frame, PlanFrame):
            self.executions.add(frame.digest, frame.data)
        elif isinstance(frame, JobFrame):
            units = Units(unpack(frame.bundle, Bundle), frame.base)
            self._jobs.append(units)
            self.end = units.end
            self._shift = time.time() - time.monotonic()
        elif isinstance(frame, BlobReply):
            self.on_reply.pop(frame.request)(frame)
        elif isinstance(frame, Given):
            self.executions.told.take(frame)
        elif isinstance(frame, Drop):
            self.dropped.update(frame.tokens)
        elif isinstance(frame, Interrupt):
            self.on_interrupt(frame)

    def find(self, token: int) -> tuple[Bundle, WorkItem, int]:
        """The bundle and the item of a token whose job came, and its place in the item."""
        units = self.units_of(token)
        return units.bundle, *units.find(token)

    def units_of(self, token: int) -> Units:
        """The bundle of a token whose job came."""
        while token >= self._jobs[0].end:
            self._jobs.popleft()
            self.dropped.clear()
        return self._jobs[0]

    def next_of_chain(self, bundle: Bundle, item: WorkItem, payloads: list[bytes]) -> tuple[WorkItem, str]:
        """The follower that comes after so many results, and the digest of its plan."""
        place = len(payloads)
        inputs = tuple(payloads[given] if isinstance(given, int) else given for given in item.then[place - 1].inputs)
        return follower(item, place, inputs), bundle.plans[item.plan]

    # ---- what goes

    def write(self, token: int, ended: Ended, started: float, now: float) -> None:
        """Writes a result. Times are those of time.monotonic()."""
        if os.getpid() != self._pid:
            os._exit(0)  # the task forked, and this is the child coming back from it
        if token in self._spoke:
            self._end_output(token)
        with self._writing:
            while not self.memory.write(token, ended.state, started + self._shift, now - started, ended.payload):
                self.ring()
                time.sleep(0.001)
            self._unrung = self._unrung or now
            if now - started > BELL_EVERY or now - self._unrung > BELL_EVERY:
                self.ring()

    def _end_output(self, token: int) -> None:
        self._spoke.discard(token)
        for writer in self.writers:
            writer.end_attempt(token)

    def ring(self) -> None:
        """Tells the agent that there are results, if there are."""
        if self._unrung:
            self._unrung = 0.0
            self.link.send(Bell())

    def log(self, stream: str, token: int, text: str) -> None:
        self.link.send(Log(token, stream, text))

    def speaker(self) -> int:
        """The token of the unit that writes something now."""
        token = speaking.get(self.latest)
        self._spoke.add(token)
        return token

    def request_number(self) -> int:
        self._requests += 1
        return self._requests

    def _ask(self, frame: Request) -> BlobReply:
        """The answer, for who reads the socket itself."""
        answers: list[BlobReply] = []
        self.on_reply[frame.request] = answers.append
        self.link.send(frame)
        while not answers:
            self.read_frames()
        return answers[0]


class _AgentBlobs:
    """The blob store, through the agent. Keeps what was read lately."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes:
        with self._lock:
            data = self._kept.pop(digest, None)
        if data is None:
            data = _answer(self._core.ask(GetBlob(self._core.request_number(), digest)))
        self._keep(digest, data)
        return data

    def put(self, digest: str, data: bytes) -> None:
        _answer(self._core.ask(PutBlob(self._core.request_number(), digest, data)))
        self._keep(digest, data)

    def cached(self, key: str) -> bytes:
        return bytes(_answer(self._core.ask(GetCached(self._core.request_number(), key))))

    def keep(self, key: str, data: bytes, ttl_ms: int) -> None:
        _answer(self._core.ask(PutCached(self._core.request_number(), key, data, ttl_ms)))

    def _keep(self, digest: str, data: bytes) -> None:
        with self._lock:
            self._kept[digest] = data
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > BLOB_ROOM:
                del self._kept[next(iter(self._kept))]


def _answer(reply: BlobReply) -> Any:
    if reply.error is not None:
        raise StoreError(reply.error)
    return reply.data
