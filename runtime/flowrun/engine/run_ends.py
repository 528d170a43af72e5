"""What the end of a run, and the success of a step that updates a dataset, mean for triggers.

The window of the run is written into its trigger's ledger, and whoever waits for it goes on. Triggers that wait for the
end of a flow, or for a dataset, are told by a message to their partitions, also to this one: a ring of flows that start
each other is a run after a run, never a decision without an end.
"""

from __future__ import annotations

import msgspec

from flowrun import values
from flowrun.messages import Arrived
from flowrun.sources import home_of
from flowrun.wire import make_record

from . import custom_times
from .commands import Send
from .core import Core
from .flows import moment
from .ledger import FAILED, SUCCESS
from .state import CANCELLED, EXPIRED, NULL, Run, Scope
from .state import SUCCESS as ENDED_WELL
from .triggered import RunEnd, Triggered, Watcher

__all__ = ["event_record", "follows", "run_ended", "run_lost", "step_updated"]

_STATES: dict[int, RunEnd] = {ENDED_WELL: "success", CANCELLED: "cancelled", EXPIRED: "expired"}
_ON = {"success": ("success",), "failure": ("failed",), "done": ("success", "failed", "cancelled", "expired")}


def event_record(subject: str, key: str, id: str, at_ms: int, body: bytes) -> bytes:
    """The record `event`."""
    at = values.encode(moment(at_ms))
    texts = [(name, values.encode(text)) for name, text in (("subject", subject), ("key", key), ("id", id))]
    return make_record([*texts, ("at", at), ("body", body)])


# ---- the end of a run -----------------------------------------------------------------------------------------------


def follows(core: Core, flow: str) -> bool:
    """The end of a run of this flow starts others."""
    return flow in core.triggers.followers


def run_ended(core: Core, run: Run) -> None:
    """A run has just ended."""
    state = _STATES.get(run.state, "failed")
    for watcher in core.triggers.followers.get(run.flow, ()):
        if state in _ON[watcher.source.on]:  # type: ignore[union-attr]
            _tell_of_run(core, watcher, run, state)
    if run.scheduled is not None and run.scheduled.trigger in core.triggers.own:
        ended = SUCCESS if run.state == ENDED_WELL else FAILED
        _window_ended(core, core.triggers.own[run.scheduled.trigger], run.scheduled.at_ms, ended)
    elif run.trigger in core.triggers.own:
        _note(core, core.triggers.own[run.trigger], run.id, state)
    if run.id in core.triggers.asked:
        custom_times.answered(core, run)


def run_lost(core: Core, name: str, run: Run | None) -> None:
    """The engine failed on a run, or (None) when it was about to begin, and it ends as failed: so does its window."""
    starting, core.triggers.starting = core.triggers.starting, None
    is_starting = run is None and starting is not None and starting.run == name
    window = run.scheduled if run is not None else starting.scheduled if is_starting and starting is not None else None
    if window is not None and window.trigger in core.triggers.own:
        _window_ended(core, core.triggers.own[window.trigger], window.at_ms, FAILED)


def _window_ended(core: Core, trigger: Triggered, at_ms: int, state: int) -> None:
    ledger = core.triggers.ledger(trigger.id)
    core.triggers.put(trigger.id, at_ms, ledger.number(at_ms), state)
    core.backfills.window_ended(trigger.id, at_ms, state == SUCCESS)
    if state == SUCCESS and trigger.waiting:
        core.triggers.due.extend(trigger.waiting.pop(at_ms, ()))
        core.triggers.touch(trigger)


def _note(core: Core, trigger: Triggered, run: str, state: RunEnd) -> None:
    """Of a run that stands for no window only the last ones are known."""
    if any(recent.run == run for recent in trigger.recent):
        replace = msgspec.structs.replace
        trigger.recent = tuple(replace(one, state=state) if one.run == run else one for one in trigger.recent)
        core.triggers.touch(trigger)


def _tell_of_run(core: Core, watcher: Watcher, run: Run, state: RunEnd) -> None:
    texts = [(name, values.encode(text)) for name, text in (("run", run.id), ("flow", run.flow), ("state", state))]
    body = make_record([*texts, ("result", run.result or NULL)])
    value = event_record(f"flow.{run.flow}", run.id, run.id, core.now, body)
    _tell(core, watcher, f"run/{run.id}", value, run.id)


def _tell(core: Core, watcher: Watcher, id: str, value: bytes, key: str) -> None:
    event = Arrived(watcher.trigger, id, value, watcher.place, key)
    home = home_of(watcher.trigger, core.partitions) if core.partitions > 1 else core.partition
    core.commands.append(Send(home, event, f"{id}/{watcher.trigger}/{watcher.place}"))


# ---- datasets -------------------------------------------------------------------------------------------------------


def step_updated(core: Core, scope: Scope, node: int) -> None:
    """A step has just succeeded that updates datasets."""
    names = scope.graph.updates.get(node, ())
    if not core.triggers.readers or not names:
        return
    run = scope.run
    step = (scope.label or "") + scope.graph.step_name(node)
    for name in names:
        fields = (("dataset", name), ("run", run.id), ("flow", run.flow), ("step", step))
        body = make_record([(field, values.encode(text)) for field, text in fields])
        id = f"dataset/{name}/{run.id}/{scope.id}/{node}"
        value = event_record(f"dataset.{name}", name, id, core.now, body)
        for watcher in core.triggers.readers.get(name, ()):
            _tell(core, watcher, id, value, name)
