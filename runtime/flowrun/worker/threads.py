"""The executor of kind thread: several units at the same time, each in a thread of a pool.

The main thread reads frames. One of the others waits for a token; it runs that unit, and the next one waits.
"""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Any

from flowrun.messages import Bundle, WorkItem

from .batch import batch_of, run_batch
from .core import HAS_EXPIRED, WAS_DROPPED, Core, expired, speaking
from .execute import Ended, Prepared, run
from .frames import BlobReply, Request
from .shared import SUCCESS
from .units import Units

__all__ = ["serve_threads"]

_TOKEN_BYTES = 8


def serve_threads(core: Core, width: int) -> None:
    """Until the agent is gone."""
    pool = _Pool(core)
    core.ask = pool.ask
    for cell in range(width):
        threading.Thread(target=pool.work, args=(cell,), name=f"flow-{cell}", daemon=True).start()
    while True:
        frames = core.link.receive_all()
        with pool.known:
            for frame in frames:
                core.handle(frame)
            pool.known.notify_all()


class _Pool:
    def __init__(self, core: Core) -> None:
        self._core = core
        #: held by the thread that waits for a token
        self._taking = threading.Lock()
        #: held by whoever looks at what frames change; notified when they did
        self.known = threading.Condition()

    def ask(self, frame: Request) -> BlobReply:
        answered = threading.Event()
        answers: list[BlobReply] = []

        def answer(reply: BlobReply) -> None:
            answers.append(reply)
            answered.set()

        with self.known:
            self._core.on_reply[frame.request] = answer
        self._core.link.send(frame)
        answered.wait()
        return answers[0]

    def work(self, cell: int) -> None:
        core = self._core
        while True:
            core.memory.rest(cell)
            with self._taking:
                token = self._token()
                with self.known:
                    while token >= core.end:
                        self.known.wait()
                    bundle, item, place = core.find(token)
                    units = core.units_of(token)
            if units.batch:
                self._batch(cell, token, units)
            else:
                self._chain(cell, token, bundle, item, place)

    def _token(self) -> int:
        core = self._core
        while True:
            try:
                data = os.read(core.tokens, _TOKEN_BYTES)
            except BlockingIOError:
                core.ring()
                select.select([core.tokens], [], [])
                continue
            if not data:
                os._exit(0)  # the agent is gone
            return int.from_bytes(data, "little")

    # ---- units

    def _chain(self, cell: int, token: int, bundle: Bundle, item: WorkItem, place: int) -> None:
        core = self._core
        prepared = core.executions.prepare(item, bundle.plans[item.plan])
        ended = self._unit(cell, token, item, prepared, place if item.first >= 0 else -1)
        payloads = [ended.payload]
        for _ in item.then:
            if ended.state != SUCCESS:
                return
            token += 1
            if token in core.dropped:
                now = time.monotonic()
                core.write(token, WAS_DROPPED, now, now)
                return
            following, digest = core.next_of_chain(bundle, item, payloads)
            ended = self._unit(cell, token, following, core.executions.prepare(following, digest), -1)
            payloads.append(ended.payload)

    def _batch(self, cell: int, token: int, units: Units) -> None:
        """All units of a bundle from this one on, together."""
        core = self._core
        started = time.monotonic()
        core.latest = token
        speaking.set(token)
        core.memory.begin(cell, token, started)
        tokens = range(token, units.end)
        ends = run_batch(batch_of(core.executions, units, tokens), core.executions.blobs, _wait)
        now = time.monotonic()
        for one, ended in reversed([*zip(tokens, ends, strict=True)]):
            core.write(one, ended, started, now)

    def _unit(self, cell: int, token: int, item: WorkItem, prepared: Prepared, index: int) -> Ended:
        core = self._core
        started = time.monotonic()
        core.latest = token
        speaking.set(token)
        core.memory.begin(cell, token, started)
        ended = HAS_EXPIRED if expired(item) else run(prepared, index, _wait)
        core.write(token, ended, started, time.monotonic())
        return ended


def _wait(awaitable: Any) -> Any:
    from .awaiting import Awaiting, run_in_own_loop  # tasks of threads are seldom `async def`

    return run_in_own_loop(Awaiting(awaitable))
