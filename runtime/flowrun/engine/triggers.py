"""Triggers: what is deployed starts runs by itself, each once, whichever process dies.

    Deployed → Arm → (the shell waits) → Tick → a run per time → its end, in the ledger
    what comes from outside → Arrived → a run

Only the shell knows clocks and calendars. It is asked to send the times of a grid when they have come, all of them
since the last one that was seen here; so nothing is lost while nobody is there, and a time that comes again is older
than the last one and changes nothing. What this partition owes is in its state: a new leader arms all triggers anew.

A time that is read a minute late or later was *missed*, and so it depends on the trigger's policy whether it starts a
run: all do, or none, or the last one of all that have come. Those that catch up, since the trigger's start, all do.

While a trigger is paused nothing is armed; its times of that while were missed, or not, when it is resumed. What
arrives is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from flowc.plan import (
    AllSource,
    AtSource,
    CronSource,
    CustomSource,
    DatasetSource,
    FlowSource,
    IntervalSource,
    TriggerDef,
    TriggerSource,
)
from flowc.schedules import jittered

from flowrun import values
from flowrun.manifest import DeployedFlow, Manifest
from flowrun.messages import Control, Deployed, FlowPause, Scheduled, Tick
from flowrun.sources import home_of, leaves, path_to

from . import custom_times
from .commands import Arm, Disarm, Send
from .core import Core
from .ledger import MISSED, NEVER
from .starting import start_window
from .triggered import Triggered, Watcher

__all__ = ["LATE_MS", "armed", "completes", "control", "deployed", "ticked"]

#: a time that is read later than this after it was missed, milliseconds
LATE_MS = 60_000

_GRIDS = (CronSource, IntervalSource, AtSource, CustomSource)


# ---- deployment -----------------------------------------------------------------------------------------------------


def deployed(core: Core, event: Deployed, manifest: Manifest | None) -> None:
    """A project's deployment changed. `manifest` is None where nothing of it is deployed any more."""
    flows = manifest.flows if manifest is not None else ()
    at_ms = min(event.at_ms, core.now)  # who deployed may have had a clock that is ahead
    watchers = [watcher for flow in flows for watcher in _watchers(flow)]
    core.triggers.put_project(event.project, event.number, event.manifest, watchers)
    found: set[str] = set()
    for flow in flows:
        for definition in flow.triggers:
            id = f"{flow.name}.{definition.name}"
            if core.partitions == 1 or home_of(id, core.partitions) == core.partition:
                found.add(id)
                _deploy(core, event.project, at_ms, flow, definition, id)
    for trigger in [*core.triggers.own.values()]:
        if trigger.project == event.project and trigger.id not in found and not trigger.gone_ms:
            trigger.gone_ms = core.now
            _changed(core, trigger)
            core.commands.append(Disarm(trigger.id))
        elif trigger.gone_ms and trigger.gone_ms + core.past.keep_ms < core.now:
            core.triggers.drop(trigger)


def _watchers(flow: DeployedFlow) -> Iterator[Watcher]:
    for definition in flow.triggers:
        for place, leaf in enumerate(leaves(definition.source)):
            if isinstance(leaf, FlowSource | DatasetSource):
                yield Watcher(f"{flow.name}.{definition.name}", place, leaf)


def _deploy(core: Core, project: str, at_ms: int, flow: DeployedFlow, definition: TriggerDef, id: str) -> None:
    """A trigger is there: for the first time, again, or still."""
    trigger = core.triggers.own.get(id)
    schedules = _schedules(flow, definition)
    if trigger is None:
        trigger = Triggered(
            id, project, flow.name, flow.plan, definition, flow.types, flow.catchup, flow.depends_on_past,
            at_ms, schedules,
        )  # fmt: skip
        first_ms = at_ms if not flow.catchup or definition.start_ms is None else definition.start_ms - 1
        trigger.last = {place: first_ms for place, _ in _grids(definition.source)}
        _put(core, trigger)
        for early in core.triggers.take_early(id):
            core.commands.append(Send(core.partition, early, f"early/{id}/{early.id}"))
        return
    same = trigger.definition == definition and trigger.schedules == schedules and not trigger.gone_ms
    if trigger.definition.source != definition.source or trigger.schedules != schedules:
        _carry_over(trigger, definition.source, at_ms)
    if trigger.gone_ms:
        trigger.last = {place: max(last, at_ms) for place, last in trigger.last.items()}
    trigger.project, trigger.plan, trigger.definition, trigger.types = project, flow.plan, definition, flow.types
    trigger.catchup, trigger.depends_on_past, trigger.schedules = flow.catchup, flow.depends_on_past, schedules
    trigger.gone_ms = 0
    if same:
        core.triggers.touch(trigger)
    else:
        _put(core, trigger)


def _put(core: Core, trigger: Triggered) -> None:
    core.triggers.add(trigger)
    _changed(core, trigger)
    _arm(core, trigger)


def _carry_over(trigger: Triggered, source: TriggerSource, at_ms: int) -> None:
    """Its sources changed: a grid goes on after the last time of the same one, else of what stood in its place."""
    before = leaves(trigger.definition.source)
    last: dict[int, int] = {}
    for place, leaf in _grids(source):
        same = next((old for old, other in enumerate(before) if other == leaf and old in trigger.last), place)
        last[place] = trigger.last.get(same, at_ms)
    trigger.last, trigger.came, trigger.ticked = last, {}, None
    trigger.upcoming, trigger.asks, trigger.trouble = {}, {}, ""


def _schedules(flow: DeployedFlow, definition: TriggerDef) -> dict[int, str]:
    named = {place: f"{definition.name}/{place}" for place, leaf in _grids(definition.source)}
    return {place: flow.schedules[name] for place, name in named.items() if name in flow.schedules}


def _grids(source: TriggerSource) -> Iterator[tuple[int, CronSource | IntervalSource | AtSource | CustomSource]]:
    for place, leaf in enumerate(leaves(source)):
        if isinstance(leaf, _GRIDS):
            yield place, leaf


# ---- arming ---------------------------------------------------------------------------------------------------------


def armed(core: Core) -> Iterator[Arm]:
    """All that is armed: what a new leader waits for."""
    for trigger in core.triggers.own.values():
        if trigger.is_live:
            yield from _arms(trigger)


def _arms(trigger: Triggered) -> Iterator[Arm]:
    for place, leaf in _grids(trigger.definition.source):
        grid = custom_times.known(trigger, place, leaf) if isinstance(leaf, CustomSource) else leaf
        if grid is not None:
            yield Arm(trigger.id, trigger.definition, grid, trigger.version, trigger.last[place], place)


def _arm(core: Core, trigger: Triggered) -> None:
    """Has the shell wait for its times, by what holds now."""
    if not trigger.is_live:
        return
    core.commands.append(Disarm(trigger.id))
    core.commands.extend(_arms(trigger))
    _ask(core, trigger)


def _ask(core: Core, trigger: Triggered) -> None:
    """Has the next times of a schedule in Python worked out, if the last has come."""
    for place, leaf in _grids(trigger.definition.source):
        if isinstance(leaf, CustomSource) and custom_times.known(trigger, place, leaf) is None:
            custom_times.ask(core, trigger, place)


def _changed(core: Core, trigger: Triggered) -> None:
    """What was armed is outdated."""
    trigger.version += 1
    core.triggers.touch(trigger)


# ---- times ----------------------------------------------------------------------------------------------------------


def ticked(core: Core, event: Tick) -> None:
    """Times of a grid have come."""
    trigger = core.triggers.own.get(event.trigger)
    if trigger is None or not trigger.is_live or event.version != trigger.version or event.place not in trigger.last:
        core.ignore(f"times of trigger {event.trigger}, which does not wait for them (any more)")
        return
    last = trigger.last[event.place]
    if event.after_ms > last:  # a message with earlier times was lost, or overtaken
        core.commands.extend(arm for arm in _arms(trigger) if arm.place == event.place)
        return
    jitter_ms = trigger.definition.jitter_ms
    times = [time for time in event.times if time.at_ms > last]
    due = [time for time in times if jittered(trigger.id, time.at_ms, jitter_ms) <= core.now]
    for number, time in enumerate(due, 1):
        trigger.last[event.place] = time.at_ms
        is_last = number == len(due) and not event.more
        if _is_missed(core, trigger, time, is_last=is_last):
            _miss(core, trigger, time)
        elif core.triggers.ledger(trigger.id).state(time.at_ms) in (NEVER, MISSED):
            _came(core, trigger, event.place, time)
    core.triggers.touch(trigger)
    if len(due) < len(times):  # the shell's clock is ahead
        core.commands.extend(arm for arm in _arms(trigger) if arm.place == event.place)
    _ask(core, trigger)


def _is_missed(core: Core, trigger: Triggered, time: Scheduled, *, is_last: bool) -> bool:
    """It starts nothing: it is late, and what that means the trigger says."""
    policy = trigger.definition.missed
    if policy == "all" or _is_caught_up(trigger, time):
        return False
    late_ms = core.now - jittered(trigger.id, time.at_ms, trigger.definition.jitter_ms)
    return late_ms > LATE_MS and (policy == "skip" or not is_last)


def _is_caught_up(trigger: Triggered, time: Scheduled) -> bool:
    return trigger.catchup and time.at_ms <= trigger.since_ms


def _miss(core: Core, trigger: Triggered, time: Scheduled) -> None:
    trigger.missed += 1
    if core.triggers.ledger(trigger.id).state(time.at_ms) == NEVER:
        core.triggers.put(trigger.id, time.at_ms, 0, MISSED)


def _came(core: Core, trigger: Triggered, place: int, time: Scheduled) -> None:
    """A time of a grid: starts a run, unless others must come, too."""
    if _is_caught_up(trigger, time):
        time = msgspec.structs.replace(time, made_up=True)
    trigger.ticked = time
    if completes(trigger, place):
        trigger.ticked = None
        start_window(core, trigger, time, waits=trigger.depends_on_past)


def completes(trigger: Triggered, place: int) -> bool:
    """One of its sources has come: with it all has come that a run needs."""
    for number, kind, at, size in reversed(path_to(trigger.definition.source, place)):
        if kind is AllSource:
            bits = trigger.came.get(number, 0) | 1 << at
            if bits != (1 << size) - 1:
                trigger.came[number] = bits
                return False
            trigger.came.pop(number, None)
    return True


# ---- by hand --------------------------------------------------------------------------------------------------------


def control(core: Core, event: Control) -> None:
    """Pauses or resumes a trigger, and answers as `control.hear` does."""
    if core.was_answered(event):
        return
    trigger = core.triggers.own.get(event.trigger)
    if trigger is None or trigger.gone_ms:
        why = f"no trigger `{event.trigger}` is deployed: `flowc trigger list` shows those that are"
        core.answer(event, False, why, values.encode("unknown"))
        return
    core.answer(event, True, "", values.encode(_pause_or_resume(core, trigger, event)))


def _pause_or_resume(core: Core, trigger: Triggered, event: Control) -> str:
    """What is worth knowing."""
    if event.action == "pause":
        if trigger.paused is not None:
            return "it was paused already"
        trigger.paused = FlowPause(trigger.id, core.now, event.by, event.note)
        _changed(core, trigger)
        core.commands.append(Disarm(trigger.id))
        return ""
    if trigger.paused is None and not trigger.trouble:
        return "it was not paused"
    trigger.paused = None
    _changed(core, trigger)
    _arm(core, trigger)
    return ""
