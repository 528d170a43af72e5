"""What is told of a chaos run: as text for people, and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any

from flowrun.messages import Cancel, Lost, MessageError, Results, RunRecord, Submit, TimerFired, unpack
from flowrun.messages import unpack_known_events as events_of

from .checker import Found
from .history import History
from .times import TARGETS, TakeOver, take_overs

__all__ = ["as_json", "as_text"]

#: violations that are told in full
_TOLD = 20
#: troubles so near to what happened to a run are told with it, in milliseconds
_NEAR_MS = 10_000.0
_LINES = 60


def as_json(history: History, found: Found) -> dict[str, Any]:
    records = [unpack(end.stored, RunRecord) for end in history.ends if end.stored]
    kinds = Counter(trouble.kind for trouble in history.troubles)
    return {
        "seed": history.seed,
        "scenario": history.scenario,
        "seconds": history.seconds,
        "nodes": history.nodes,
        "partitions": history.partitions,
        "load": {"before": history.loads[0], "after": history.loads[1]},
        "kills": sum(trouble.is_kill for trouble in history.troubles),
        "troubles": dict(sorted(kinds.items())),
        "submissions": len(history.submissions),
        "acknowledged": sum(submission.accepted_ms > 0 for submission in history.submissions),
        "tasks": sum(submission.tasks for submission in history.submissions),
        "attempts": sum(effect.what == "begin" for effect in history.effects),
        "messages": len(history.messages),
        "runs": dict(sorted(Counter(record.state for record in records).items())),
        "kinds": dict(sorted(Counter(submission.kind for submission in history.submissions).items())),
        "lost": sum(found.fold.crashes.values()),
        "take_overs": _times(take_overs(history)),
        "excused": {rule: {"count": len(what), "some": list(what[:5])} for rule, what in found.excused.items()},
        "violations": [
            {"rule": one.rule, "run": one.run, "text": one.text, "around": list(_around(history, one.run))}
            for one in found.violations[:_TOLD]
        ],
        "violation_count": len(found.violations),
    }


def _times(times: list[TakeOver]) -> dict[str, Any]:
    found = {}
    for what in sorted({one.what for one in times}):
        every = [one.took_ms / 1000 for one in times if one.what == what]
        clean = [one.took_ms / 1000 for one in times if one.what == what and one.clean]
        found[what] = {"target": TARGETS.get(what), "clean": _spread(clean), "all": _spread(every)}
    return found


def _spread(seconds: list[float]) -> dict[str, float | int | None]:
    if not seconds:
        return {"count": 0, "p50": None, "max": None}
    return {"count": len(seconds), "p50": round(statistics.median(seconds), 2), "max": round(max(seconds), 2)}


def as_text(report: dict[str, Any]) -> str:
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    load = report["load"]
    yield (
        f"chaos, seed {report['seed']}: {report['scenario']}, {report['nodes']} nodes, {report['partitions']} "
        f"partitions, {report['seconds']:g} s; load of the machine {load['before']:.1f}, then {load['after']:.1f}"
    )
    yield f"{report['kills']} kills; " + ", ".join(f"{kind} {count}" for kind, count in report["troubles"].items())
    yield (
        f"{report['tasks']} tasks in {report['submissions']} submissions ({report['acknowledged']} acknowledged), "
        f"{report['attempts']} attempts begun, {report['lost']} lost with a worker, {report['messages']} messages"
    )
    yield "runs: " + ", ".join(f"{state} {count}" for state, count in report["runs"].items())
    for what, times in report["take_overs"].items():
        target = f" (target {times['target']:g} s)" if times["target"] else ""
        yield f"{what}{target}: " + "; ".join(f"{name} {_told(times[name])}" for name in ("clean", "all"))
    for rule, excused in report["excused"].items():
        yield f"allowed, beside a trouble: {rule}: {excused['count']}"
    yield f"{report['violation_count']} violations"
    for one in report["violations"]:
        yield f"- {one['rule']}: {one['run'] or 'all'}: {one['text']}"
        yield from (f"    {line}" for line in one["around"])


def _told(spread: dict[str, Any]) -> str:
    if not spread["count"]:
        return "none"
    return f"p50 {spread['p50']:g} s, max {spread['max']:g} s of {spread['count']}"


# ---- what happened around a run ------------------------------------------------------------------------------------


def _around(history: History, run: str) -> Iterator[str]:
    """The life of a run, and the troubles near to it, in order."""
    if not run:
        return
    lines = sorted({*_of_client(history, run), *_of_inbox(history, run), *_of_journal(history, run)})
    if lines:
        first, last = lines[0][0] - _NEAR_MS, lines[-1][0] + _NEAR_MS
        lines += [
            (trouble.begin_ms, f"! {trouble.kind} {trouble.target} {trouble.pid or ''} until {trouble.end_ms:.0f}")
            for trouble in history.troubles
            if first <= trouble.end_ms and trouble.begin_ms <= last
        ]
    for at_ms, text in sorted(lines)[:_LINES]:
        yield f"{at_ms:.0f} {text}"


def _of_client(history: History, run: str) -> Iterator[tuple[float, str]]:
    for submission in history.submissions:
        if submission.run == run:
            yield submission.at_ms, f"client: submits {submission.kind}"
            if submission.accepted_ms:
                yield submission.accepted_ms, "client: it is acknowledged"
            if submission.cancelled_ms:
                yield submission.cancelled_ms, "client: its cancellation is acknowledged"
    for end in history.ends:
        if end.run == run and end.told:
            yield end.at_ms, f"client: is told that it ended: {unpack(end.told, RunRecord).state}"


def _of_inbox(history: History, run: str) -> Iterator[tuple[float, str]]:
    for message in history.messages:
        try:
            events, _ = events_of(message.data)
        except MessageError:
            continue
        for event in events:
            text = _shown(event, run)
            if text:
                yield float(message.time_ms), f"inbox {message.partition} #{message.seq}: {text}"


def _shown(event: object, run: str) -> str:
    match event:
        case Submit() | Cancel() | TimerFired() if event.run == run:
            return f"{type(event).__name__} {getattr(event, 'timer', '')}"
        case Lost(bundle, items) if any(item.run == run for item in items):
            return f"Lost {bundle}: " + ", ".join(item.id for item in items if item.run == run)
        case Results(bundle, worker, outcomes) if any(outcome.run == run for outcome in outcomes):
            told = (
                f"{one.scope}/{one.node}/{one.attempt} [{one.first}:{one.last}] {one.state}"
                for one in outcomes
                if one.run == run
            )
            return f"Results {bundle} of {worker}: " + ", ".join(told)
        case _:
            return ""


def _of_journal(history: History, run: str) -> Iterator[tuple[float, str]]:
    for effect in history.effects:
        if effect.run == run:
            yield effect.at_ms, f"journal: {effect.what} {effect.id} on {effect.node} ({effect.ppid}/{effect.pid})"
