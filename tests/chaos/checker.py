"""Holds a recorded chaos run against what is promised. Pure: a history in, violations out.

Each rule is a function that yields violations. What a rule relies on: the client's own notes (what was acknowledged,
what it was told), the inboxes from their first message (folded by `shadow`), and the journal that tasks wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flowrun.messages import RunRecord, unpack

from tests.reference.compare import differences
from tests.sim.programs import program

from .doubts import Doubts
from .history import Effect, End, History, Submission
from .shadow import Fold, Unit, fold

__all__ = ["Found", "Violation", "check"]

#: what a cancelled run does is over after this time, and this much after troubles in between
_STOPS_MS, _STOPS_AFTER_TROUBLE_MS = 2_000, 10_000
#: between the clock of a task and the stamp of a message: same machine, but a stamp is cut to a millisecond
_CLOCK_MS = 2.0
#: between the kill of an executor and the message that says so, in milliseconds
_DEATH_MS = 5_000
#: as the engine has it
_MAX_CRASHES = 3


@dataclass(frozen=True)
class Violation:
    rule: str
    run: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.run or '-'}: {self.text}"


@dataclass(frozen=True)
class Found:
    """All that was found."""

    violations: tuple[Violation, ...]
    #: what would be violations, were it not for a trouble that allows it: rule -> what
    excused: Mapping[str, tuple[str, ...]]
    fold: Fold


class _Case:
    """A history as the rules look at it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.fold = fold(history.messages, history.partitions, history.plans)
        self.doubts = Doubts(history.troubles)
        self.ends = {end.run: end for end in history.ends}
        self.effects: dict[str, list[Effect]] = defaultdict(list)
        for effect in history.effects:
            self.effects[effect.run].append(effect)
        #: attempt -> the first time that it had its effect
        self.done: dict[str, Effect] = {}
        for effect in history.effects:
            if effect.what == "done":
                self.done.setdefault(effect.id, effect)
        #: runs with a unit whose worker died so often that it has failed
        self.poisoned = {unit[0] for unit, count in self.fold.crashes.items() if count >= _MAX_CRASHES}
        self.excused: dict[str, list[str]] = defaultdict(list)

    def stored(self, run: str) -> RunRecord | None:
        end = self.ends.get(run)
        return unpack(end.stored, RunRecord) if end is not None and end.stored else None


def check(history: History) -> Found:
    case = _Case(history)
    violations = [violation for rule in _RULES for violation in rule(case)]
    return Found(tuple(violations), {rule: tuple(what) for rule, what in case.excused.items()}, case.fold)


# ---- runs -----------------------------------------------------------------------------------------------------------


def _recorded_without_problems(case: _Case) -> Iterator[Violation]:
    for problem in case.history.problems:
        yield Violation("recording", "", problem)
    for run, problem in case.fold.problems:
        yield Violation("state", run, problem)


def _every_submission_ends(case: _Case) -> Iterator[Violation]:
    """What was acknowledged, and what is in an inbox, has a stored record; its client was told."""
    for submission in case.history.submissions:
        end = case.ends.get(submission.run)
        if not submission.accepted_ms:
            continue
        if end is None or not end.stored:
            yield Violation("ends", submission.run, "its submission was acknowledged, and it has no record")
        elif not end.told:
            yield Violation("ends", submission.run, "it has a record, and its client was never told")
    for run in case.fold.submitted:
        if run not in case.ends or not case.ends[run].stored:
            yield Violation("ends", run, "its submission is in an inbox, and it has no record")


def _every_run_ends_right(case: _Case) -> Iterator[Violation]:
    for submission in case.history.submissions:
        record, end = case.stored(submission.run), case.ends.get(submission.run)
        if record is None or end is None:
            continue
        wrong = list(_wrong(submission, record, end))
        why = _excuse(case, submission) if wrong else ""
        if why:
            case.excused[why].append(f"{submission.run}: {wrong[0]}")
            continue
        for text in wrong:
            yield Violation("right end", submission.run, f"{submission.kind}: {text}")


def _excuse(case: _Case, submission: Submission) -> str:
    """Why a run may end otherwise."""
    if submission.run in case.poisoned:
        return "its worker died three times"
    died = case.fold.died.get(submission.run, ())
    kills = [trouble.begin_ms for trouble in case.history.troubles if trouble.kind == "kill executor"]
    near = any(0 <= at_ms - kill_ms <= _DEATH_MS for at_ms in died for kill_ms in kills)
    return "its executor was killed, and it has no retry" if submission.program >= 0 and near else ""


def _wrong(submission: Submission, record: RunRecord, end: End) -> Iterator[str]:
    if submission.program >= 0:
        one = program(submission.program)
        returns = None if one.plan.returns is None else "json"
        yield from differences(one.report, record, returns, _no_blob, attempts=False)
        return
    if record.state != submission.state:
        yield f"it is {record.state}, and must be {submission.state}: {record.error}"
    elif record.state == "success" and end.value not in submission.values:
        yield f"its value is {end.value!r}, and must be {' or '.join(map(repr, submission.values))}"
    elif record.state == "failed" and record.failed_step != submission.failed_step:
        yield f"it failed by {record.failed_step}, and must by {submission.failed_step}"
    ended_well = {(row.step, row.index) for row in record.steps if row.state == "success"}
    missing = [effect for effect in submission.effects if effect not in ended_well]
    if missing:
        yield f"these steps did not succeed: {missing}"


def _no_blob(digest: str) -> bytes:
    raise AssertionError(f"a result of a random program is in a blob: {digest}")


def _records_are_the_fold(case: _Case) -> Iterator[Violation]:
    """Every state transition once: what was stored and told is what the inbox comes to, to the last attempt."""
    for run, folded in case.fold.records.items():
        end = case.ends.get(run)
        if end is None:
            continue
        for what, data in (("stored", end.stored), ("told", end.told)):
            record = unpack(data, RunRecord) if data else folded
            if record.state == folded.state == "cancelled" and not record.flow:
                continue  # its client wrote it, for it had not begun
            if record != folded:
                yield Violation(
                    "one transition", run, f"what was {what} is not what the inbox says: {_apart(record, folded)}"
                )


def _apart(record: RunRecord, folded: RunRecord) -> str:
    names = [name for name in record.__struct_fields__ if getattr(record, name) != getattr(folded, name)]
    return "; ".join(f"{name} {getattr(record, name)!r} / {getattr(folded, name)!r}" for name in names)[:600]


# ---- effects --------------------------------------------------------------------------------------------------------


def _every_effect_happened(case: _Case) -> Iterator[Violation]:
    """A result that counts is of an attempt that had its effect."""
    for unit, accepted in case.fold.accepted.items():
        if accepted.target.startswith("effects:") and _id(unit, accepted.attempt) not in case.done:
            yield Violation("effects", unit[0], f"{_id(unit, accepted.attempt)} succeeded, and its effect is not there")


def _id(unit: Unit, attempt: int) -> str:
    run, scope, node, item = unit
    return f"{run}/{scope}/{node}/{attempt}" + (f"/{item}" if item >= 0 else "")


def _nothing_runs_again(case: _Case) -> Iterator[Violation]:
    """Nothing begins whose result is acknowledged."""
    for effect in case.history.effects:
        accepted = case.fold.accepted.get(effect.unit)
        if effect.what != "begin" or accepted is None or effect.at_ms <= accepted.at_ms + _CLOCK_MS:
            continue
        late = (
            f"{effect.id} began {effect.at_ms - accepted.at_ms:.0f} ms after attempt {accepted.attempt} had succeeded"
        )
        trouble = case.doubts.about(effect, effect.at_ms, strict=True)
        done = case.done.get(_id(effect.unit, accepted.attempt))
        if trouble is None and done is not None:
            trouble = case.doubts.silenced(done, effect.at_ms)
        if trouble is not None:
            case.excused["began again"].append(f"{late}: {trouble.kind} {trouble.target}")
        else:
            yield Violation("runs again", effect.run, late)


def _nothing_begins_early(case: _Case) -> Iterator[Violation]:
    """Delays of submissions and steps, and waits before another attempt."""
    early = {one.run: one.not_before_ms for one in case.history.submissions if one.not_before_ms}
    for effect in case.history.effects:
        if effect.what != "begin":
            continue
        wait = early.get(effect.run, 0) - effect.at_ms
        if wait > _CLOCK_MS:
            yield Violation(
                "early", effect.run, f"{effect.id} began {wait:.0f} ms too early: its submission is delayed"
            )
        for attempt, at_ms in case.fold.not_before.get(effect.unit, ()):
            if effect.attempt >= attempt and at_ms - effect.at_ms > _CLOCK_MS:
                text = f"{effect.id} began {at_ms - effect.at_ms:.0f} ms before its timer"
                yield Violation("early", effect.run, text)


def _cancelled_runs_stop(case: _Case) -> Iterator[Violation]:
    for submission in case.history.submissions:
        record = case.stored(submission.run)
        if record is None or record.state != "cancelled":
            continue
        for begin, end_ms in _intervals(case, case.effects[submission.run]):
            last = case.doubts.until(begin, record.ended_ms, record.ended_ms + _STOPS_MS, _STOPS_AFTER_TROUBLE_MS)
            if end_ms > last:
                text = f"{begin.id} went on for {(end_ms - record.ended_ms) / 1000:.1f} s after it was cancelled"
                yield Violation("cancelled", submission.run, text)
            elif begin.at_ms > last:
                text = f"{begin.id} began {(begin.at_ms - record.ended_ms) / 1000:.1f} s after it was cancelled"
                yield Violation("cancelled", submission.run, text)


def _intervals(case: _Case, effects: list[Effect]) -> Iterator[tuple[Effect, float]]:
    """What ran from when to when: the line of its beginning, and its end. Of what was killed, when its process was
    seen to live for the last time."""
    ends: dict[tuple[str, int], list[float]] = defaultdict(list)
    for effect in effects:
        if effect.what != "begin":
            ends[effect.id, effect.pid].append(effect.at_ms)
    deaths = {death.pid: death for death in case.history.deaths}
    last = max((effect.at_ms for effect in case.history.effects), default=0.0)
    for effect in effects:
        if effect.what == "begin":
            found = [at for at in ends[effect.id, effect.pid] if at >= effect.at_ms]
            death = deaths.get(effect.pid)
            alive = max(death.seen_ms, effect.at_ms) if death is not None else last
            yield effect, min(found) if found else alive


def _gates_are_kept(case: _Case) -> Iterator[Violation]:
    """As many hold a pool, or a key, as it allows; more only where a worker is in doubt."""
    for gate, slots in case.history.gates.items():
        effects = [effect for effect in case.history.effects if effect.gate == gate]
        held = sorted(_intervals(case, effects), key=lambda one: one[0].at_ms)
        for begin, _ in held:
            now = [one for one, end in held if one.at_ms <= begin.at_ms < end - _CLOCK_MS]
            if len(now) <= slots:
                continue
            sure = [one for one in now if case.doubts.about(one, begin.at_ms) is None]
            text = f"{gate} allows {slots}, and {len(now)} had it: {', '.join(one.id for one in now)}"
            if len(sure) > slots:
                yield Violation("limits", begin.run, text)
            else:
                case.excused["more holders than slots"].append(text)


_RULES: tuple[Callable[[_Case], Iterator[Violation]], ...] = (
    _recorded_without_problems, _every_submission_ends, _every_run_ends_right, _records_are_the_fold,
    _every_effect_happened, _nothing_runs_again, _nothing_begins_early, _cancelled_runs_stop, _gates_are_kept,
)  # fmt: skip
