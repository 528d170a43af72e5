"""What the shell asks of the engine's state: what is owed, what is wanted, what has ended; and its snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from flowrun.messages import (
    Outcome,
    RunRecord,
    WorkItem,
)

from . import (
    backfill,
    fanout,
    grants,
    ranges,
    single,
    tasks,
    triggers,
)
from .commands import Arm, Ready, SetTimer
from .fuse import followers, is_out
from .image import encode_image, is_worth_an_image
from .loaded import Loaded
from .record import run_record
from .snapshot import Head, head_of, pack_run, pack_single
from .state import (
    GRANTED,
    SUCCESS,
    Run,
    Scope,
    number_of,
)

__all__ = ["Told", "scope_with", "suspect"]


class Told(Loaded):
    """The part of the engine that is asked."""

    # ---- what is owed

    def outstanding(self, run: str = "") -> Iterator[Ready]:
        """All work (of a run) that was asked for and has not ended: what a new coordinator dispatches, or finds
        dispatched."""
        for name in [run] if run else self.living():
            lone = self.singles.get(name)
            if lone is not None:
                if lone.value is None:
                    yield single.ready_of(self, lone)
                continue
            packed = self.frozen.get(name)
            if packed is not None and not head_of(packed).has_work:
                continue
            known = self.peek(name)
            for scope in known.scopes.values() if known else ():
                for node in _granted(scope.states):
                    yield tasks.ready(scope, node, followers(scope, node))
                for node in scope.fans:
                    if fanout.is_simple(scope, node):
                        yield from ranges.outstanding(scope, node)

    def timers(self) -> Iterator[SetTimer]:
        """All timers that are set."""
        yield from grants.timers(self)
        runs: list[Run | Head] = [*self.runs.values(), *map(head_of, self.frozen.values())]
        for run in runs:
            for name, timer in run.timers.items():
                yield SetTimer(run.id, name, timer.at_ms)

    def armed(self) -> Iterator[Arm]:
        """All grids whose times are waited for."""
        return triggers.armed(self)

    def wants(self, work: WorkItem | Outcome | Ready) -> bool:
        """The attempt is still the current one and has not ended; of a range, that of any of its items."""
        run = self.peek(work.run)
        scope = scope_with(run, work.scope, work.node)
        if scope is None:
            return False
        if work.first < 0:
            node, attempt = (work.node, work.attempt) if isinstance(work, Outcome) else suspect(scope, work)
            return scope.states[node] == GRANTED and number_of(scope, node) == attempt
        fan = scope.fans.get(work.node)
        if fan is None or not fanout.is_simple(scope, work.node):
            return False
        return next(ranges.fresh_ranges(fan, work.first, work.last, work.attempt), None) is not None

    # ---- what has ended

    def ended(self) -> Iterable[str]:
        """Runs that ended and whose record is not yet stored."""
        runs: list[Run | Head] = [*self.runs.values(), *map(head_of, self.frozen.values())]
        ended = [run.id for run in runs if run.ended]
        return ended + [name for name, lone in self.singles.items() if lone.value is not None]

    def record(self, run: str) -> RunRecord:
        """The record of an ended run. Raises KeyError if it has not ended, or was forgotten."""
        lone = self.singles.get(run)
        if lone is not None and lone.value is not None:
            return single.record_of(lone)
        known = self.peek(run)
        if known is None or not known.ended:
            raise KeyError(run)
        return run_record(known)

    def image(self, run: str) -> bytes:
        """The encoded image of an ended run that was not forgotten; b"" if it needs none (see `image`)."""
        if run in self.singles:
            return b""
        known = self.peek(run)
        return encode_image(known) if known is not None and known.ended and is_worth_an_image(known) else b""

    def forget(self, run: str) -> None:
        """The record of an ended run is stored: only its id is kept, so that it is not started again."""
        known, lone = self.runs.get(run), self.singles.get(run)
        if lone is not None:
            ended = lone.value is not None
        elif known is not None:
            ended = known.ended
        else:
            packed = self.frozen.get(run)
            ended = packed is not None and head_of(packed).ended
        if ended:
            self.drop_run(run)

    # ---- snapshots

    def pack_run(self, run: str) -> bytes:
        """The bytes of what `take_touched` names, a run or a piece of the past or of the triggers; b"" for what is no
        more: a snapshot writes that too."""
        if self.past.owns(run):
            return self.past.pack_piece(run)
        if self.triggers.owns(run):
            return self.triggers.pack_piece(run)
        if run in self.singles:
            return pack_single(self.singles[run])
        known = self.runs.get(run)
        return pack_run(known) if known is not None else self.frozen.get(run, b"")

    def pack_rest(self) -> bytes:
        """The bytes of what is no run's: the clock, and every part."""
        return _rest_encoder.encode(_Rest(self.now, {name: part.pack() for name, part in self.parts.items()}))

    def restore(self, rest: bytes, runs: Iterable[tuple[str, bytes]]) -> set[str]:
        """Makes a new engine what the packed one was. `runs` in the order in which they were packed: a later one
        replaces an earlier one. Gives the hashes of the plans that must be added before anything is decided. Raises
        msgspec.DecodeError for bytes of another version."""
        state = _rest_decoder.decode(rest)
        self.now = state.now
        for name, data in state.parts.items():
            self.parts[name].restore(data)
        self.frozen = {name: data for name, data in dict(runs).items() if data}
        pieces = {name: self.frozen.pop(name) for name in [*self.frozen] if self.past.owns(name)}
        self.past.restore_pieces(pieces)
        pieces = {name: self.frozen.pop(name) for name in [*self.frozen] if self.triggers.owns(name)}
        self.triggers.restore_pieces(pieces)
        heads = [head_of(data) for data in self.frozen.values()]
        for head in heads:
            self.listeners.add_run(head.id, head.heard)
        return {plan for head in heads for plan in (head.plan, *head.plans)} | backfill.plans(self)


class _Rest(msgspec.Struct, array_like=True):
    """What a snapshot holds beside the runs."""

    now: int
    parts: dict[str, bytes]


_rest_encoder = msgspec.msgpack.Encoder()
_rest_decoder = msgspec.msgpack.Decoder(_Rest)


def suspect(scope: Scope, work: WorkItem | Ready) -> tuple[int, int]:
    """The part of a chain that its worker is at, as node and attempt: the first that has not ended."""
    node, attempt = work.node, work.attempt
    for then in work.then:
        if scope.states[node] != SUCCESS or number_of(scope, node) != attempt or not 0 <= then.node < scope.graph.size:
            break
        if not is_out(scope, then.node):
            break
        node, attempt = then.node, 1
    return node, attempt


def scope_with(run: Run | None, scope: int, node: int) -> Scope | None:
    """The scope, if it lives and has such a node."""
    found = run.scopes.get(scope) if run else None
    return found if found is not None and 0 <= node < found.graph.size else None


def _granted(states: bytearray) -> Iterator[int]:
    node = states.find(GRANTED)
    while node >= 0:
        yield node
        node = states.find(GRANTED, node + 1)
