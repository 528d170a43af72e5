"""Clients that look on: who is told of a run's end, and who of its steps.

A client that submits a run is told of its end, once. Others say every two seconds that they watch a run; each time they
are told what is known of it, and then what changes, for five seconds after they said so last. Nobody watches most
runs, and those cost nothing here. A note may be lost; who watches says so again and is told again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from .engine import Engine
from .engine.trigger_view import states_of
from .engine.view import approvals, expected_end, steps_of, summaries
from .messages import Ended, Listing, Query, StateNote, StepNote, ToClient, Watch
from .notes import Notes

__all__ = ["Watchers"]

#: a client that did not say again that it watches is forgotten after this time, in seconds
_SECONDS = 5.0
#: a listing is one note: at most so many runs
_MOST_LISTED = 1_000
#: or so many triggers, which are told in some words each
_MOST_TRIGGERS = 5_000
#: steps of one note
_STEPS = 1_000


class _Watcher:
    __slots__ = ("steps", "until")

    def __init__(self) -> None:
        #: loop time
        self.until = 0.0
        self.steps = False


class Watchers:
    """`send(client, note)` tells a client."""

    def __init__(self, engine: Engine, partition: str, interval: float, send: Callable[[str, ToClient], None]) -> None:
        self._engine, self._partition, self._send = engine, partition, send
        #: run -> client -> …
        self._of_run: dict[str, dict[str, _Watcher]] = {}
        self._notes = Notes(interval, self._tell)
        engine.watched = self._of_run
        #: when a trigger ticks next, if that is known
        self.next_ms: Callable[[str], int | None] = lambda trigger: None

    # ---- what clients say

    def watch(self, watch: Watch) -> None:
        """A client looks on, from now on for a while."""
        if not self._engine.is_known(watch.run):
            return
        run = self._engine.peek(watch.run)
        if run is None:  # its record is stored
            self._send(watch.client, Ended((), (watch.run,)))
            return
        if run.ended:
            self._send(watch.client, Ended((self._engine.record(watch.run),)))
            return
        watcher = self._of_run.setdefault(watch.run, {}).setdefault(watch.client, _Watcher())
        watcher.until, watcher.steps = asyncio.get_running_loop().time() + _SECONDS, watch.steps
        steps = steps_of(self._engine, watch.run) if watch.steps else ()
        levels = run.levels.all_marks() if watch.steps and run.levels is not None else ()
        expected = expected_end(self._engine, run) if watch.steps else 0
        for start in range(0, max(len(steps), 1), _STEPS):
            told = levels if not start else ()
            self._send(watch.client, StateNote(watch.run, "running", steps[start : start + _STEPS], told, expected))

    def query(self, query: Query) -> None:
        """A client asks what runs."""
        limit = max(min(query.limit, _MOST_LISTED), 0)
        if query.approvals:
            waiting = tuple(approvals(self._engine, query.run, limit))
            self._send(query.client, Listing(query.id, self._partition, (), 0, waiting))
            return
        if query.backfills:
            backfills = tuple(self._engine.backfills.told(query.run, limit))
            self._send(query.client, Listing(query.id, self._partition, (), 0, backfills=backfills))
            return
        if query.triggers:
            most = max(min(query.limit, _MOST_TRIGGERS), 0)
            found = tuple(states_of(self._engine, query.run, query.flow, most, self.next_ms))
            self._send(query.client, Listing(query.id, self._partition, (), 0, triggers=found))
            return
        if query.slas:
            known, flow, since = self._engine.sla_counts, query.flow, query.since_ms
            counts, misses = tuple(known.counts(flow, since)), tuple(known.misses(flow, since, limit))
            self._send(query.client, Listing(query.id, self._partition, (), 0, slas=counts, misses=misses))
            return
        flows = () if query.run else tuple(self._engine.pauses.flows.values())
        total, listed = summaries(self._engine, query.run, query.flow, limit)
        self._send(query.client, Listing(query.id, self._partition, tuple(listed), total, (), flows))

    # ---- what happens

    def changed(self, run: str, steps: tuple[StepNote, ...]) -> None:
        """Steps of a run changed."""
        watchers = self._of_run.get(run)
        if watchers is not None and any(watcher.steps for watcher in watchers.values()):
            self._notes.changed(run, steps)

    def flush(self) -> None:
        """Tells what changed, as far as it is time to."""
        self._notes.flush()

    def ended(self, run: str) -> Iterable[str]:
        """The clients that look on at a run that ended: they are told of that by whoever asks."""
        watchers = self._of_run.pop(run, None)
        if watchers is None:
            return ()
        self._notes.drop(run)
        return watchers

    def forget_silent(self) -> None:
        """Drops clients that no longer say that they watch."""
        now = asyncio.get_running_loop().time()
        for run, watchers in list(self._of_run.items()):
            for client in [client for client, watcher in watchers.items() if watcher.until < now]:
                del watchers[client]
            if not watchers:
                del self._of_run[run]
                self._notes.drop(run)

    def stop(self) -> None:
        self._notes.stop()

    def _tell(self, note: StateNote) -> None:
        for client, watcher in self._of_run.get(note.run, {}).items():
            if watcher.steps:
                self._send(client, note)
