"""What is told of triggers to those who ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowrun.messages import TriggerRun, TriggerState
from flowrun.run_ids import run_id_of_window
from flowrun.source_text import source_text

from .core import Core
from .ledger import FAILED, LIVE, MISSED, SUCCESS
from .triggered import MOST_RECENT, RunEnd, Triggered

__all__ = ["states_of"]

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
