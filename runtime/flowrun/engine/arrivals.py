"""What triggers wait for, apart from times: events, requests, files, ends of flows, updates of datasets.

What arrives has an id, by which it counts once however often it comes; ids are remembered as long as results are kept.
It may be filtered out, or be a duplicate by its key; else it starts a run, whose id follows from its own. Where that
cannot be, who waits for an answer is told why; if nobody does, the run is there, and has failed for this reason.
"""

from __future__ import annotations

import msgspec
from flowc.plan import EventSource, TriggerSource, WebhookSource

from flowrun import values
from flowrun.messages import Arrived, Raised
from flowrun.run_ids import run_id_of_arrival
from flowrun.sources import leaves, subject_matches
from flowrun.wire import may_hold_blobs

from .commands import Answer
from .core import Core
from .evaluate import ExpressionError
from .past import digest_of
from .run_ends import event_record
from .starting import evaluate_for, kinds_of_event, start, start_window
from .triggered import Triggered
from .triggers import completes

__all__ = ["arrived", "heard_by", "raised"]

#: keys that are remembered for `dedupe_ms`
_MOST_KEYS = 50_000
#: msgpack true
_TRUE = b"\xc3"


class _RefusedError(Exception):
    """It starts nothing; the message says why, `code` as the answer has it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def arrived(core: Core, event: Arrived) -> None:
    """Something came for a trigger of this partition. The answer's value: what became of it, and the run."""
    try:
        what, run, message = _take(core, event)
    except _RefusedError as error:
        core.ignore(f"event {event.id} for trigger {event.trigger}: {error}")
        if event.client:
            core.commands.append(Answer(event.client, event.id, False, str(error), values.encode(error.code)))
        return
    if event.client:
        value = values.encode({"run": run or None, "what": what})
        core.commands.append(Answer(event.client, event.id, True, message, value))


def heard_by(core: Core, subject: str) -> list[tuple[Triggered, int]]:
    """The triggers, with their places, that wait for events of this subject."""
    found = []
    for id in sorted(core.triggers.hearing):
        trigger = core.triggers.own[id]
        if trigger.is_live:
            for place, leaf in enumerate(leaves(trigger.definition.source)):
                if isinstance(leaf, EventSource) and subject_matches(leaf.subject, subject):
                    found.append((trigger, place))
    return found


def raised(core: Core, event: Raised) -> None:
    """An event that came to all partitions, for the first time."""
    for trigger, place in heard_by(core, event.subject):
        value = event_record(event.subject, event.key, event.id, core.now, event.value)
        arrived(core, Arrived(trigger.id, f"raised:{place}:{event.id}", value, place, event.key))


def _take(core: Core, event: Arrived) -> tuple[str, str, str]:
    """What became of it, the run if there is one, and what is worth knowing. Raises _RefusedError."""
    trigger = core.triggers.own.get(event.trigger)
    sources = leaves(trigger.definition.source) if trigger is not None and not trigger.gone_ms else ()
    if trigger is None and not event.client:  # another partition has heard of its deployment before this one
        core.triggers.keep_early(event, core.now)
        return "early", "", ""
    if trigger is None or not 0 <= event.source < len(sources):
        raise _RefusedError(f"no trigger `{event.trigger}` is deployed", "unknown")
    identity = f"{trigger.id}\0{event.id}"
    mark = digest_of(identity)
    run = run_id_of_arrival(identity, core.partition, core.partitions)
    if core.past.has(mark):
        return "repeated", run if core.past.has(_started(run)) else "", "it came before"
    if trigger.paused is not None:
        raise _RefusedError(f"trigger `{trigger.id}` is paused", "paused")
    if not _in_time(core, trigger):
        return "filtered", "", f"trigger `{trigger.id}` has not begun yet, or has ended"
    return _judge(core, trigger, event, sources[event.source], run, mark)


def _judge(
    core: Core, trigger: Triggered, event: Arrived, source: TriggerSource, run: str, mark: bytes
) -> tuple[str, str, str]:
    """It came for the first time."""
    body = getattr(source, "body", -1)
    try:
        _check(trigger, event, body)
        if not _passes(trigger, event, source, body):
            core.past.add(mark, core.now, True)
            return "filtered", "", "the trigger's filter leaves it out"
        key = _key(trigger, event, source, body)
    except (ExpressionError, values.TypeMismatch) as error:
        trigger.refused += 1
        core.triggers.touch(trigger)
        if event.client:
            raise _RefusedError(str(error), "error") from error
        core.past.add(mark, core.now, True)
        kind = "TypeMismatch" if isinstance(error, values.TypeMismatch) else "ExpressionError"
        message = f"what came to trigger `{trigger.id}` is not what it takes: {error}"
        core.past.add(_started(run), core.now, True)
        start(core, trigger, run, event.value, refusal=(kind, message))
        return "started", run, ""
    core.past.add(mark, core.now, True)
    known = _duplicate(core, trigger, source, key)
    if known is not None:
        return "duplicate", known, f"another one of key {key!r} came before"
    if not completes(trigger, event.source):
        core.triggers.touch(trigger)
        return "waiting", "", "others of its sources have not come yet"
    if getattr(source, "dedupe_ms", 0):
        trigger.keys[key] = (core.now, run)
    return "started", _start(core, trigger, run, event, body), ""


def _start(core: Core, trigger: Triggered, run: str, event: Arrived, body: int) -> str:
    """The run; of an `all_of` that has a time, too, it is one of that window."""
    ticked, trigger.ticked = trigger.ticked, None
    if ticked is not None:
        return start_window(core, trigger, ticked, event=event.value, body=body, waits=trigger.depends_on_past)
    start(core, trigger, run, event.value, body=body)
    core.past.add(_started(run), core.now, True)
    return run


def _started(run: str) -> bytes:
    """What is remembered of a run that something started, for as long as what started it."""
    return digest_of(f"{run}\0started")


def _in_time(core: Core, trigger: Triggered) -> bool:
    first, last = trigger.definition.start_ms, trigger.definition.end_ms
    return (first is None or first <= core.now) and (last is None or core.now <= last)


# ---- what a source asks for -----------------------------------------------------------------------------------------


def _check(trigger: Triggered, event: Arrived, body: int) -> None:
    """It is of the type that the trigger takes. Raises values.TypeMismatch."""
    if not may_hold_blobs(event.value):
        values.decode(event.value, kinds_of_event(trigger, body), _no_blobs)


def _no_blobs(digest: str) -> bytes:
    raise ExpressionError("it is too large to be looked into")


def _passes(trigger: Triggered, event: Arrived, source: TriggerSource, body: int) -> bool:
    """Its filter holds. Raises ExpressionError."""
    if not isinstance(source, EventSource | WebhookSource) or source.filter is None:
        return True
    return evaluate_for(trigger, source.filter, event.value, body=body) == _TRUE


def _key(trigger: Triggered, event: Arrived, source: TriggerSource, body: int) -> str:
    """What it is about. Raises ExpressionError."""
    if not isinstance(source, EventSource | WebhookSource) or source.key is None:
        return event.key
    found = msgspec.msgpack.decode(evaluate_for(trigger, source.key, event.value, body=body))
    return found if isinstance(found, str) else str(found)


def _duplicate(core: Core, trigger: Triggered, source: TriggerSource, key: str) -> str | None:
    """The run that another one of this key started within the time; None if there was none."""
    dedupe_ms = getattr(source, "dedupe_ms", 0)
    if not dedupe_ms:
        return None
    keys = trigger.keys
    while keys and (len(keys) > _MOST_KEYS or next(iter(keys.values()))[0] + dedupe_ms <= core.now):
        del keys[next(iter(keys))]
    found = keys.get(key)
    return None if found is None or found[0] + dedupe_ms <= core.now else found[1]
