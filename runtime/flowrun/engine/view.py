"""What eyes see of runs that have not ended: the states of a run's steps, and runs in a list. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from flowrun.messages import Approval, RunSummary, StepNote

from . import awaiting
from .core import Core
from .listeners import APPROVAL
from .state import NAMES, NULL, Run, Scope, number_of, seconds_of
from .waits import argument, step_path, told

__all__ = ["approvals", "expected_end", "steps_of", "summaries"]

#: what the approvals of one list show, in bytes
_SHOWN_BYTES = 256 * 1024
_TOO_LONG = msgspec.msgpack.encode("… (too much for this list: ask for the run alone)")


def steps_of(core: Core, run: str) -> tuple[StepNote, ...]:
    """The state of every step that is told by itself, as `core.note` tells its changes. O(nodes)."""
    known = core.peek(run)
    return tuple(step for scope in known.scopes.values() for step in _steps(scope)) if known else ()


def _steps(scope: Scope) -> Iterator[StepNote]:
    if scope.label is None:
        return
    for node in _named(scope):
        error, fan = scope.errors.get(node), scope.fans.get(node)
        yield StepNote(
            step=scope.label + scope.graph.nodes[node].name,
            index=None,
            state=NAMES[scope.states[node]],
            attempt=0 if node in scope.attempts and scope.attempts[node].spared else number_of(scope, node),
            seconds=fan.took if fan else seconds_of(scope, node),
            message=f"{error.type}: {error.message}" if error else told(scope, node) if node in scope.waits else "",
            total=fan.total if fan else 0,
            done=fan.succeeded if fan else 0,
            failed=fan.failed if fan else 0,
        )


def _named(scope: Scope) -> Iterator[int]:
    graph = scope.graph
    return (node for node in range(graph.params, graph.size) if graph.nodes[node].name)


def summaries(core: Core, run: str = "", flow: str = "", limit: int = 100) -> tuple[int, list[RunSummary]]:
    """How many runs have not ended (of this id, of this flow), and the newest of them. O(runs), and unpacks those that
    are listed; of a flow, all that are packed."""
    if run:
        found = [known] if (known := core.peek(run)) else []
    elif flow:
        found = [known for name in core.living() if (known := core.peek(name)) and known.flow == flow]
    else:
        newest = sorted(core.living(), reverse=True)[:limit]  # ids sort by the time at which they were made
        found = [known for name in newest if (known := core.peek(name))]
    living = [known for known in found if not known.ended]
    living.sort(key=lambda known: known.submitted_ms, reverse=True)
    total = len(living) if run or flow else len(core.living())
    return total, [_summary(core, known) for known in living[:limit]]


def _summary(core: Core, run: Run) -> RunSummary:
    counts: Counter[str] = Counter()
    for scope in run.scopes.values():
        if scope.label is not None:
            counts.update(NAMES[scope.states[node]] for node in _named(scope))
    levels = run.levels.all_marks() if run.levels is not None else ()
    return RunSummary(
        run.id,
        run.flow,
        run.submitted_ms,
        dict(counts),
        run.trigger,
        bool(run.paused),
        run.audit,
        levels,
        run.begun_ms,
        expected_end(core, run),
    )


def expected_end(core: Core, run: Run) -> int:
    """When a run is expected to end, milliseconds since 1970: half of the earlier ones took so long, or less; 0: it has
    not begun, or too few have ended to tell."""
    took = core.history.quantile_ms(run.flow, 0.5) if run.begun_ms else None
    return 0 if took is None else run.begun_ms + took


def approvals(core: Core, run: str = "", limit: int = 100) -> list[Approval]:
    """What waits for somebody's decision (in this run), the oldest first. Unpacks the runs that do."""
    names = [run] if run else core.listeners.runs(APPROVAL)
    found = [approval for name in names if (known := core.peek(name)) for approval in _approvals(known)]
    found.sort(key=lambda approval: (approval.since_ms, approval.run))
    return _bounded(found[:limit])


def _bounded(found: list[Approval]) -> list[Approval]:
    """A list is one note: what is shown beyond what fits is left out."""
    room = _SHOWN_BYTES
    for place, one in enumerate(found):
        size = len(one.group) + len(one.title) + len(one.show)
        if size > room:
            found[place] = msgspec.structs.replace(one, title=NULL, show=_TOO_LONG)
        else:
            room -= size
    return found


def _approvals(run: Run) -> Iterator[Approval]:
    for key in run.awaits:
        if key.startswith(APPROVAL):
            for place in awaiting.places(run, key):
                number, node = awaiting.node_at(place)
                yield _approval(run.scopes[number], node)


def _approval(scope: Scope, node: int) -> Approval:
    run, step, since_ms = scope.run, step_path(scope, node), scope.waits[node].since_ms
    group, title, show = (argument(scope, node, name) or NULL for name in ("group", "title", "show"))
    limit = run.timers.get(f"patience/{scope.id}/{node}")
    return Approval(run.id, run.flow, step, group, title, show, since_ms, limit.at_ms if limit else 0)
