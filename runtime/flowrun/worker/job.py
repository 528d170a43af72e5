"""A bundle while it is executed: its units, which of them are still to do, and what is to be reported.

Whatever ends a unit is told to the job once. Neighbouring results of a range become one outcome. Of a chain, each unit
has an outcome, up to the first that did not succeed; those behind it have none, unless they are handed back.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Literal

import msgspec
from flowc.plan import Plan, StepSettings

from flowrun.messages import Begun, Bundle, Failure, Outcome, WorkItem

from .codes import Code
from .failures import unpack_failure
from .frames import Given
from .shared import EXPIRED, NOT_RUN, REPLACED, SKIPPED, SUCCESS, UnitResult
from .steps import StepKey, step_key, step_of
from .units import Units, follower
from .unwanted import Unwanted

__all__ = ["Job", "Unit"]

#: results of this size do not wait for more, and a report holds at most one outcome beyond it, in bytes
FULL = 256 * 1024
#: an outcome of a range is not larger, but for its last value, in bytes
_LARGE = 128 * 1024
_State = Literal["success", "failed", "skipped", "returned", "expired", "replaced"]
#: those that have a value
_VALUED = ("success", "replaced")
_SECONDS = struct.Struct("<f")
_NULL = b"\xc0"
_MISSING = object()
_BEGUN_ONCE = Failure(
    "WorkerDied", "its process was ended while it ran, and it is to run at most once (`delivery`)", retryable=False
)


class Unit(msgspec.Struct, frozen=True):
    """What a token stands for."""

    #: of a follower, an item of its own
    item: WorkItem
    #: position in the range, or -1
    index: int
    #: name of the step
    step: str
    #: None: nothing of the user's is called
    settings: StepSettings | None


class Job:
    """One bundle in one executor. Its methods are called from the event loop. `changed` is called when there is
    something to report, and once when the last unit has ended."""

    def __init__(
        self,
        bundle: Bundle,
        plans: Mapping[str, Plan],
        base: int = 0,
        data: bytes = b"",
        changed: Callable[[Job], None] = lambda job: None,
        code: Code | None = None,
        given: Given | None = None,
    ) -> None:
        self.bundle = bundle
        #: what its tasks are in; None: the worker's own project
        self.code = code
        #: what its tasks need beside it; None: nothing
        self.given = given
        #: the bundle as it came
        self.data = data
        self.units = Units(bundle, base)
        self.base, self.end = base, self.units.end
        self._plans = [plans[digest] for digest in bundle.plans]
        self._changed = changed
        #: tokens whose units have not ended, in the order in which they run
        self.pending: dict[int, None] = dict.fromkeys(range(base, self.end))
        self._steps: dict[StepKey, int] | None = None
        self._all_settings: list[StepSettings] | None = None
        #: tokens of units of which it was told that they have begun
        self._told: set[int] = set()
        self._outcomes: list[Outcome] = []
        self._run: _Run | None = None
        #: of what can be reported, in bytes
        self.size = 0
        #: token of the unit that ended last
        self.last_ended: int | None = None
        #: how long the units took that ended, in seconds, and how many they were
        self.seconds, self.count = 0.0, 0
        #: the lease is lost: nothing of it counts any more
        self.abandoned = False

    def unit(self, token: int) -> Unit:
        item, place = self.units.find(token)
        if item.first < 0 and place > 0:
            item, place = follower(item, place), 0
        step, settings = step_of(item, self._plans[item.plan])
        return Unit(item, place if item.first >= 0 else -1, step, settings)

    # ---- what ends units

    def ended(self, results: Iterable[UnitResult]) -> None:
        """Units that the executor finished."""
        pending, items, base = self.pending, self.units.items, self.base
        plain, outcomes = self.units.plain, self._outcomes
        seconds, count, size = 0.0, 0, 0
        for result in results:
            token = result.token
            if pending.pop(token, _MISSING) is _MISSING:
                continue  # it was given up at the moment when it ended
            self.last_ended = token
            seconds += result.seconds
            count += 1
            if not plain or result.state != SUCCESS:
                self._ended(token, result)
                continue
            # what `_add` does for a unit that is an item by itself: most units end here
            item, value = items[token - base], result.payload
            outcome = Outcome(
                item.run, item.scope, item.node, item.attempt, "success", value, None,
                int(result.started * 1000), _SECONDS.pack(result.seconds),
            )  # fmt: skip
            outcomes.append(outcome)
            size += 64 + len(value)
        self.seconds += seconds
        self.count += count
        self.size += size
        self._changed(self)

    def _ended(self, token: int, result: UnitResult) -> None:
        if result.state == SUCCESS:
            self._add(token, "success", result.payload, None, result.started, result.seconds)
            return
        if result.state == NOT_RUN:
            self.pending[token] = None
            self._return([token])
        elif result.state == SKIPPED:
            self._add(token, "skipped", _NULL, None, result.started, result.seconds)
        elif result.state == EXPIRED:
            self._add(token, "expired", _NULL, None, result.started, result.seconds)
        elif result.state == REPLACED:
            self._add(token, "replaced", result.payload, None, result.started, result.seconds)
        else:
            failure = unpack_failure(result.payload)
            self._add(token, "failed", _NULL, failure, result.started, result.seconds)
            if self.pending and token < min(self.pending):  # of a batch it is told last: the rest was ended with it
                self._fail_batch(failure, result.started, result.seconds)
        self._drop_rest(token)

    def fail(self, token: int, failure: Failure, started: float, seconds: float) -> None:
        """A unit that the executor will not finish. `started`: seconds since 1970."""
        del self.pending[token]
        self._add(token, "failed", _NULL, failure, started, seconds)
        self._drop_rest(token)
        self._fail_batch(failure, started, seconds)
        self._changed(self)

    def _fail_batch(self, failure: Failure, started: float, seconds: float) -> None:
        """What was executed together with a unit that was ended has ended, too."""
        for token in [*self.pending] if self.units.batch else ():
            del self.pending[token]
            self._add(token, "failed", _NULL, failure, started, seconds)

    def queued(self, tokens: Iterable[int]) -> list[int]:
        """What some tokens that are not begun yet stand for, as far as they are of this job: of a batch all of it."""
        mine = [token for token in tokens if self.base <= token < self.end]
        return [*self.pending] if mine and self.units.batch else mine

    def hand_back(self, tokens: Iterable[int]) -> None:
        """Units that were not executed go to another worker, and those behind them in their chains."""
        self._return(tokens)
        self._changed(self)

    def _return(self, tokens: Iterable[int]) -> None:
        for first in sorted(tokens):
            for token in (first, *self.units.rest(first)):
                if token in self.pending:
                    del self.pending[token]
                    self._add(token, "returned", b"", None, 0.0, 0.0)

    def give_up(self, token: int, started: float, seconds: float) -> None:
        """A unit that had begun, and was ended for no fault of its own: another worker begins it anew, unless it is to
        run at most once. `started`: seconds since 1970."""
        settings = self.unit(token).settings
        if settings is not None and settings.at_most_once:
            self.fail(token, _BEGUN_ONCE, started, seconds)
        else:
            self.hand_back(self.queued([token]))

    def forget(self, tokens: Iterable[int]) -> None:
        """Units that somebody else reports, and those behind them in their chains."""
        for token in tokens:
            self.pending.pop(token, None)
            self._drop_rest(token)
        self._changed(self)

    def abandon(self) -> None:
        """Nothing of it is reported any more."""
        self.abandoned = True
        self.pending.clear()
        self._outcomes, self._run, self.size = [], None, 0
        self._changed(self)

    def _drop_rest(self, token: int) -> None:
        for behind in self.units.rest(token):
            self.pending.pop(behind, None)

    def begun(self, token: int) -> Begun | None:
        """What is to be told of a unit that is executed now; None: nothing, or it was told."""
        if not self._tells or token in self._told:
            return None
        self._told.add(token)
        unit = self.unit(token)
        if unit.settings is None or not _tells(unit.settings):
            return None
        return Begun(unit.item.run, unit.item.scope, unit.item.node, unit.item.attempt)

    @cached_property
    def _tells(self) -> bool:
        return any(map(_tells, self.settings()))

    # ---- what is asked

    def heads(self) -> list[int]:
        """The pending tokens that are handed out."""
        return list(self.units.heads(self.pending))

    def steps(self) -> dict[StepKey, int]:
        """Units by step; a follower counts as its predecessor."""
        if self._steps is None:
            self._steps = counts = Counter[StepKey]()
            for item, units in self._alike:
                counts[step_key(item, self.bundle.plans)] += units
        return self._steps

    def settings(self) -> list[StepSettings]:
        """Of the steps that its items call, without repeats."""
        if self._all_settings is None:
            items = [item for item, _ in self._alike]
            firsts = {(i.plan, i.flow, i.block, i.node, i.first >= 0): i for i in items}
            firsts |= {
                (i.plan, i.flow, i.block, then.node, False): follower(i, place)
                for i in items
                for place, then in enumerate(i.then, 1)
            }
            found = [step_of(item, self._plans[item.plan])[1] for item in firsts.values()]
            self._all_settings = [settings for settings in found if settings is not None]
        return self._all_settings

    @cached_property
    def _alike(self) -> list[tuple[WorkItem, int]]:
        """Items and how many units they are; one stands for its neighbours that call the same step."""
        items = self.units.items
        if not self.units.plain:
            return [(i, i.last - i.first if i.first >= 0 else 1 + len(i.then)) for i in items]
        firsts: list[int] = []
        last: WorkItem | None = None
        for at, item in enumerate(items):
            if (
                last is None
                or item.node != last.node
                or item.block != last.block
                or item.flow != last.flow
                or item.plan != last.plan
            ):
                firsts.append(at)
                last = item
        return [(items[at], end - at) for at, end in zip(firsts, [*firsts[1:], len(items)], strict=True)]

    def orphans(self) -> list[int]:
        """Pending followers whose predecessor has ended: only the executor that ended it has its value."""
        if not self.units.chains:
            return []
        heads = set(self.heads())
        return [t for t in self.pending if t not in heads and t - 1 not in self.pending]

    def of_other_codes(self) -> list[int]:
        """Pending tokens whose plans have another code than the first plan: a process sees only one."""
        plans = self._plans
        if all(plan.code == plans[0].code for plan in plans):
            return []
        return [token for token in self.pending if plans[self.units.find(token)[0].plan].code != plans[0].code]

    def unwanted(self, unwanted: Unwanted, tokens: Iterable[int]) -> list[int]:
        """Those of the tokens whose units are unwanted."""
        if unwanted.empty or not any(map(unwanted.concerns, self.bundle.items)):
            return []
        units = ((token, self.unit(token)) for token in tokens)
        return [token for token, unit in units if unwanted.holds(unit.item, unit.index)]

    # ---- what is reported

    def take_outcomes(self) -> tuple[Outcome, ...]:
        """What is to be reported now, in one message; call it until it gives nothing."""
        self._flush()
        if self.size < FULL:
            taken, self._outcomes, self.size = tuple(self._outcomes), [], 0
            return taken
        size, count = 0, 0
        while count < len(self._outcomes) and size < FULL:
            size += _size(self._outcomes[count])
            count += 1
        taken, self._outcomes = tuple(self._outcomes[:count]), self._outcomes[count:]
        self.size = sum(map(_size, self._outcomes))
        return taken

    @property
    def reports(self) -> bool:
        """There is something to report."""
        return self._run is not None or bool(self._outcomes)

    def _add(
        self, token: int, state: _State, value: bytes, error: Failure | None, started: float, seconds: float
    ) -> None:
        item, place = self.units.find(token)
        if item.first < 0:
            node, attempt = (item.node, item.attempt) if place == 0 else (item.then[place - 1].node, 1)
            self._flush()
            outcome = Outcome(
                item.run, item.scope, node, attempt, state, value if state in _VALUED else _NULL, error,
                int(started * 1000), _SECONDS.pack(seconds),
            )  # fmt: skip
            self._outcomes.append(outcome)
            self.size += 64 + len(value) if error is None else _size(outcome)
            return
        run = self._run
        if run is None or not run.goes_on_with(item, place, state, error):
            self._flush()
            run = self._run = _Run(item, place, state, error, started)
        run.values.append(value)
        run.seconds.append(_SECONDS.pack(seconds))
        run.size += len(value) + 4
        self.size += len(value) + 4

    def _flush(self) -> None:
        if self._run is not None:
            self._outcomes.append(self._run.outcome())
            self._run = None


def _tells(settings: StepSettings) -> bool:
    """It is to be told when such a step begins."""
    return settings.sla is not None and settings.sla.start_ms is not None


class _Run:
    """Neighbouring units of a range that ended alike."""

    def __init__(self, item: WorkItem, first: int, state: _State, error: Failure | None, started: float) -> None:
        self._item, self._first = item, first
        self._state = state
        self._error = error
        self._started = started
        self.values: list[bytes] = []
        self.seconds: list[bytes] = []
        self.size = 0

    def goes_on_with(self, item: WorkItem, place: int, state: _State, error: Failure | None) -> bool:
        return (
            item is self._item
            and state == self._state != "replaced"
            and error is None
            and self._error is None
            and place == self._first + len(self.values)
            and self.size < _LARGE
        )

    def outcome(self) -> Outcome:
        item = self._item
        return Outcome(
            run=item.run,
            scope=item.scope,
            node=item.node,
            attempt=item.attempt,
            state=self._state,
            value=b"".join(self.values) if self._state in _VALUED else _NULL,
            error=self._error,
            started_ms=int(self._started * 1000),
            seconds=b"".join(self.seconds),
            first=self._first,
            last=self._first + len(self.values),
        )


def _size(outcome: Outcome) -> int:
    """About so many bytes travel."""
    detail = len(outcome.error.message) + len(outcome.error.detail) if outcome.error else 0
    return 64 + len(outcome.value) + len(outcome.seconds) + detail
