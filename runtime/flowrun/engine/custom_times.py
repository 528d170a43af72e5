"""Schedules that are Python functions of the project: a worker works out their next times.

The engine starts a run of a plan that does nothing else (the deployment brings it), and what that gives is armed as
any list of times is. When the last of them has come, it asks for more. Each of these runs is tried again as long as it
fails for a reason that may pass; if it fails for good, the trigger rests, and tells why, until it is resumed or
deployed again.
"""

from __future__ import annotations

import msgspec
from flowc.plan import AtSource, CustomSource, TriggerSource

from flowrun import values
from flowrun.run_ids import triggered_run_id
from flowrun.sources import leaves

from .commands import Arm
from .core import Core
from .flows import moment
from .state import SUCCESS, Run
from .triggered import Start, Triggered

__all__ = ["answered", "ask", "known"]

_decoder = msgspec.msgpack.Decoder(list[int])


def known(trigger: Triggered, place: int, source: CustomSource) -> AtSource | None:
    """The next times of a custom schedule; None: they are to be asked for."""
    times = trigger.upcoming.get(place, ())
    return AtSource(at_ms=times, tz=source.tz) if times and times[-1] > trigger.last[place] else None


def ask(core: Core, trigger: Triggered, place: int) -> None:
    """Has the times after the last one worked out, unless that is being done."""
    if place in trigger.asks:
        return
    plan = trigger.schedules.get(place)
    if plan is None:
        trigger.trouble = "its deployment has no plan for its schedule: deploy the project again"
        core.triggers.touch(trigger)
        return
    trigger.asked += 1
    identity = f"{trigger.id}\0schedule\0{place}\0{trigger.asked}"
    run = triggered_run_id(identity, core.now, core.partition, core.partitions)
    trigger.asks[place] = run
    core.triggers.asked[run] = trigger.id
    args = values.encode({"after": moment(trigger.last[place])})
    core.triggers.due.append(Start(run, f"schedule:{trigger.id}", plan, args))
    core.triggers.touch(trigger)


def answered(core: Core, run: Run) -> None:
    """A run that was to work out times has ended."""
    trigger = core.triggers.own.get(core.triggers.asked.pop(run.id))
    place = next((place for place, asked in trigger.asks.items() if asked == run.id), None) if trigger else None
    if trigger is None or place is None:
        return  # the trigger was changed meanwhile
    del trigger.asks[place]
    core.triggers.touch(trigger)
    try:
        if run.state != SUCCESS:
            raise ValueError(run.error.message if run.error is not None else "it did not run to its end")
        times = tuple(sorted(time for time in _decoder.decode(run.result) if time > trigger.last[place]))
    except (ValueError, msgspec.DecodeError) as error:
        trigger.trouble = f"its next times are not known: {error}"
        return
    trigger.upcoming[place] = times
    trigger.trouble = "" if times else "its schedule has no more times"
    if times and trigger.is_live:
        source: TriggerSource = leaves(trigger.definition.source)[place]
        assert isinstance(source, CustomSource)
        grid = AtSource(at_ms=times, tz=source.tz)
        after_ms = trigger.last[place]
        core.commands.append(Arm(trigger.id, trigger.definition, grid, trigger.version, after_ms, place))
