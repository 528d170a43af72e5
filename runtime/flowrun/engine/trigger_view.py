"""What is told of triggers to those who ask."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from flowc.plan import (
    AllSource,
    AnySource,
    AtSource,
    CronSource,
    CustomSource,
    DatasetSource,
    EventSource,
    FileSource,
    FlowSource,
    IntervalSource,
    TriggerSource,
    WebhookSource,
)

from flowrun.messages import TriggerRun, TriggerState
from flowrun.run_ids import run_id_of_window
from flowrun.text import show

from .core import Core
from .flows import moment
from .ledger import FAILED, LIVE, MISSED, SUCCESS
from .triggered import MOST_RECENT, RunEnd, Triggered

__all__ = ["source_text", "states_of"]

_LEDGER: dict[int, RunEnd] = {LIVE: "running", SUCCESS: "success", FAILED: "failed"}


def states_of(
    core: Core, trigger: str, flow: str, limit: int, next_ms: Callable[[str], int | None]
) -> Iterator[TriggerState]:
    """The trigger of this name with its last runs; or all (of a flow) by name, at most so many."""
    known = core.triggers.own
    names = [trigger] if trigger else sorted(name for name, one in known.items() if not flow or one.flow == flow)
    deployed = [known[name] for name in names if name in known and not known[name].gone_ms]
    for one in deployed[:limit]:
        yield _state(core, one, next_ms(one.id), tuple(_runs(core, one)) if trigger else ())


def _state(core: Core, one: Triggered, next_ms: int | None, runs: tuple[TriggerRun, ...]) -> TriggerState:
    newest = next(iter(core.triggers.ledger(one.id).backwards(core.now + 1)), None)
    last_ms = max(newest[0] if newest else 0, one.recent[0].at_ms if one.recent else 0)
    return TriggerState(
        one.id, one.project, one.flow, source_text(one.definition.source), one.plan, one.since_ms, next_ms, last_ms,
        one.paused, one.started, one.missed, one.refused, sum(map(len, one.waiting.values())), one.trouble, runs,
    )  # fmt: skip


def _runs(core: Core, one: Triggered) -> Iterator[TriggerRun]:
    """The newest first."""
    found = [TriggerRun(recent.run, recent.at_ms, recent.state) for recent in one.recent]
    windows = core.triggers.ledger(one.id).backwards(core.now + 1)
    for (at_ms, number, state), _ in zip(windows, range(MOST_RECENT), strict=False):
        if state == MISSED:
            found.append(TriggerRun("", at_ms, "missed"))
        else:
            run = run_id_of_window(one.id, at_ms, number, core.partition, core.partitions)
            found.append(TriggerRun(run, at_ms, _LEDGER[state], number))
    found.sort(key=lambda run: -run.at_ms)
    yield from found[:MOST_RECENT]


def source_text(source: TriggerSource) -> str:
    """A source as a flow has it, in short."""
    match source:
        case CronSource():
            zone = "" if source.tz == "UTC" else f', tz: "{source.tz}"'
            return f'cron("{source.expression}"{zone})'
        case IntervalSource():
            return f"interval({show(dt.timedelta(milliseconds=source.every_ms))})"
        case AtSource():
            first = moment(source.at_ms[0]).strftime("%Y-%m-%dT%H:%M:%SZ") if source.at_ms else ""
            return f'at("{first}"{", …" if len(source.at_ms) > 1 else ""})'
        case CustomSource():
            return f'schedule("{source.target}")'
        case EventSource():
            return f'event("{source.subject}")'
        case WebhookSource():
            return f'webhook("{source.path}")'
        case FileSource():
            return f'file("{source.pattern}")'
        case FlowSource():
            return f"after_flow({source.flow})"
        case DatasetSource():
            return f'dataset("{source.name}")'
        case AnySource() | AllSource():
            kind = "any_of" if isinstance(source, AnySource) else "all_of"
            return f"{kind}({', '.join(map(source_text, source.sources))})"
