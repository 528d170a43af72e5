"""A bundle while it is executed: its units, which of them are still to do, and what is to be reported.

A unit is a work item, or one position of an item that is a range. Tokens are consecutive numbers of units, unique
for an executor. Whatever ends a unit is told to the job once; neighbouring results of a range become one outcome.
"""

from __future__ import annotations

import asyncio
import bisect
import struct
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from flowc.plan import EachNode, NodeBase, Plan, StepSettings, TaskNode

from flowrun.messages import Bundle, Failure, Outcome, WorkItem

from .failures import unpack_failure
from .shared import SKIPPED, SUCCESS, UnitResult
from .unwanted import Unwanted

__all__ = ["Job", "Unit"]

#: results of this size do not wait for more, and a report holds at most one outcome beyond it, in bytes
FULL = 256 * 1024
#: an outcome of a range is not larger, but for its last value, in bytes
_LARGE = 128 * 1024
_State = Literal["success", "failed", "skipped", "returned"]
_SECONDS = struct.Struct("<f")


class Unit(msgspec.Struct, frozen=True):
    """What a token stands for."""

    item: WorkItem
    #: position in the range, or -1
    index: int
    #: name of the step
    step: str
    timeout_ms: int | None


class Job:
    """One bundle in one executor. Its methods are called from the event loop."""

    def __init__(self, bundle: Bundle, plans: Mapping[str, Plan], base: int) -> None:
        self.bundle = bundle
        self.base = base
        self._starts: list[int] = []
        self._about = [_about(item, plans[bundle.plans[item.plan]]) for item in bundle.items]
        end = base
        for item in bundle.items:
            self._starts.append(end)
            end += max(0, item.last - item.first) if item.first >= 0 else 1
        self.end = end
        #: tokens whose units have not ended, in the order in which they run
        self.pending = deque(range(base, end))
        self._outcomes: list[Outcome] = []
        self._run: _Run | None = None
        self._size = 0
        #: token of the unit that ended last
        self.last_ended: int | None = None
        #: something can be reported
        self.changed = asyncio.Event()
        #: what can be reported is not to wait any longer
        self.urgent = asyncio.Event()
        #: nothing more will be told
        self.closed = False

    def unit(self, token: int) -> Unit:
        at = bisect.bisect_right(self._starts, token) - 1
        item = self.bundle.items[at]
        step, settings = self._about[at]
        index = item.first + token - self._starts[at] if item.first >= 0 else -1
        return Unit(item, index, step, settings.timeout_ms if settings else None)

    def ended(self, results: Iterable[UnitResult]) -> None:
        """Units that the executor finished."""
        for result in results:
            if self.pending and self.pending[0] == result.token:
                self.pending.popleft()
            elif result.token in self.pending:
                self.pending.remove(result.token)
            else:
                continue  # it was given up at the moment when it ended
            self.last_ended = result.token
            unit = self.unit(result.token)
            if result.state == SUCCESS:
                self._add(unit, "success", result.payload, None, result.started, result.seconds)
            elif result.state == SKIPPED:
                self._add(unit, "skipped", b"\xc0", None, result.started, result.seconds)
            else:
                self._add(unit, "failed", b"\xc0", unpack_failure(result.payload), result.started, result.seconds)
        self._tell()

    def fail(self, token: int, failure: Failure, started: float, seconds: float) -> None:
        """A unit that the executor will not finish. `started`: seconds since 1970."""
        self.pending.remove(token)
        self._add(self.unit(token), "failed", b"\xc0", failure, started, seconds)
        self._tell()

    def hand_back(self, tokens: Iterable[int]) -> None:
        """Units that were not executed and go to another worker."""
        gone = set(tokens)
        self.pending = deque(token for token in self.pending if token not in gone)
        for token in sorted(gone):
            self._add(self.unit(token), "returned", b"", None, 0.0, 0.0)
        self._tell()

    def unwanted(self, unwanted: Unwanted, tokens: Iterable[int]) -> list[int]:
        """Those of the tokens whose units are unwanted."""
        if not any(map(unwanted.concerns, self.bundle.items)):
            return []
        units = ((token, self.unit(token)) for token in tokens)
        return [token for token, unit in units if unwanted.holds(unit.item, unit.index)]

    def close(self) -> None:
        """Nothing more will be told."""
        self.closed = True
        self.changed.set()
        self.urgent.set()

    def take_outcomes(self) -> tuple[Outcome, ...]:
        """What is to be reported now, in one message; call it until it gives nothing."""
        self._flush()
        size, count = 0, 0
        while count < len(self._outcomes) and size < FULL:
            size += _size(self._outcomes[count])
            count += 1
        taken, self._outcomes = tuple(self._outcomes[:count]), self._outcomes[count:]
        self._size -= min(size, self._size)
        if not self.closed and not self._outcomes:
            self._size = 0
            self.changed.clear()
            self.urgent.clear()
        return taken

    def _add(
        self, unit: Unit, state: _State, value: bytes, error: Failure | None, started: float, seconds: float
    ) -> None:
        run = self._run
        if run is None or not run.goes_on_with(unit, state, error):
            self._flush()
            run = self._run = _Run(unit, state, error, started)
        run.values.append(value)
        run.seconds.append(_SECONDS.pack(seconds))
        run.size += len(value) + 4
        self._size += len(value) + 4

    def _flush(self) -> None:
        if self._run is not None:
            self._outcomes.append(self._run.outcome())
            self._run = None

    def _tell(self) -> None:
        if self._run is not None or self._outcomes:
            self.changed.set()
            if self._size >= FULL:
                self.urgent.set()


class _Run:
    """Neighbouring units of a range that ended alike; any other unit stands alone."""

    def __init__(self, unit: Unit, state: _State, error: Failure | None, started: float) -> None:
        self._unit = unit
        self._state = state
        self._error = error
        self._started = started
        self.values: list[bytes] = []
        self.seconds: list[bytes] = []
        self.size = 0

    def goes_on_with(self, unit: Unit, state: _State, error: Failure | None) -> bool:
        return (
            unit.item is self._unit.item
            and state == self._state
            and error is None
            and self._error is None
            and unit.index == self._unit.index + len(self.values)
            and unit.index > 0
            and self.size < _LARGE
        )

    def outcome(self) -> Outcome:
        item, first = self._unit.item, self._unit.index
        return Outcome(
            run=item.run,
            scope=item.scope,
            node=item.node,
            attempt=item.attempt,
            state=self._state,
            value=b"".join(self.values) if self._state == "success" else b"\xc0",
            error=self._error,
            started_ms=int(self._started * 1000),
            seconds=b"".join(self.seconds),
            first=first,
            last=first + len(self.values) if first >= 0 else -1,
        )


def _size(outcome: Outcome) -> int:
    """About so many bytes travel."""
    detail = len(outcome.error.message) + len(outcome.error.detail) if outcome.error else 0
    return 64 + len(outcome.value) + len(outcome.seconds) + detail


def _about(item: WorkItem, plan: Plan) -> tuple[str, StepSettings | None]:
    """Name and settings of the step that an item calls; no settings for what is only evaluated."""
    plan = plan.children[item.flow] if item.flow else plan
    node: NodeBase = plan.blocks[item.block].nodes[item.node]
    if isinstance(node, EachNode) and item.first >= 0:
        node = next(n for n in plan.blocks[node.body].nodes if isinstance(n, TaskNode))
    if isinstance(node, TaskNode):
        return node.name or plan.tasks[node.task].name, plan.settings[node.settings]
    return node.name, None
