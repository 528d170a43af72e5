"""Runs of a single task, as a task queue has them by the million.

All that is known of such a run follows from its submission and, later, from its result. So no more than these two is
kept, and it begins and ends without scopes, conditions and an agenda. As soon as anything else happens to it (a
failure, a worker's death, a cancellation, somebody who looks on) it is *unfolded*: made the run that it would be had
it begun like all others, and from then on it is one. Packed it is as short, and unfolds when it is unpacked.
"""

from __future__ import annotations

from collections import deque

from flowrun.messages import Outcome, RunRecord, StepRecord, Submit

from .commands import EndRun, Ready
from .core import Core
from .evaluate import ExpressionError
from .flows import ArgumentError, open_flow, parameters, values_of
from .graph import Graph
from .past import digest_of
from .run_ends import follows
from .runs import new_run
from .state import GRANTED, NULL, SUCCESS, Run, Single, put_seconds, rounded
from .tasks import is_whole, own_priority

__all__ = ["begin", "ready_of", "record_of", "succeed", "unfold"]


def begin(core: Core, event: Submit, seq: int) -> bool:
    """Takes a run on; False: it is to be looked at, and to begin, like all others."""
    tables = core.tables.get(event.plan)
    if tables is None or event.expires_ms or core.marks or core.watched is None or event.run in core.watched:
        return False
    if event.again is not None or event.scheduled is not None:
        return False
    if core.pauses.flows and tables.plan.flow in core.pauses.flows:
        return False
    graph, mark = tables.body_of_run(), digest_of(event.run)
    if graph.lone < 0 or core.is_live(event.run) or core.past.has(mark):
        return False
    done = len(core.commands)
    single = Single(event, tables, seq, core.now, mark)
    try:
        work = _ready(single, graph, values_of(core, graph, event.args, NULL))
    except (ArgumentError, ExpressionError):
        del core.commands[done:]
        return False
    core.add_single(single)
    core.commands.append(work)
    return True


def _ready(single: Single, graph: Graph, given: list[bytes]) -> Ready:
    event, node = single.event, graph.lone
    return Ready(
        event.run,
        0,
        0,
        node,
        1,
        -1,
        -1,
        tuple([given[i] for i in graph.inputs[node]]),
        event.plan,
        "",
        graph.lanes[node],
        own_priority(event.priority, graph.settings[node]),
        single.seq,
    )


def ready_of(core: Core, single: Single) -> Ready:
    """The work of a run that has not ended."""
    graph = single.tables.body_of_run()
    commands, core.commands = core.commands, []
    try:
        return _ready(single, graph, values_of(core, graph, single.event.args, NULL))
    finally:
        core.commands = commands


def succeed(core: Core, single: Single, outcome: Outcome) -> bool:
    """The run ends with a result; False: this is no first success, or somebody looks on."""
    if (
        outcome.state != "success"
        or single.value is not None
        or outcome.attempt != 1
        or outcome.first >= 0
        or outcome.scope
        or outcome.node != single.tables.body_of_run().lone
        or core.watched is None
        or outcome.run in core.watched
        or (core.triggers.followers and follows(core, single.tables.plan.flow))
        or not is_whole(outcome.value)
    ):
        return False
    single.value, single.seconds, single.ended_ms = outcome.value or NULL, outcome.seconds, core.now
    core.past.add(single.mark, core.now, bool(single.event.key))
    core.history.add(single.tables.plan.flow, core.now - single.submitted_ms)
    core.commands.append(EndRun(outcome.run, single.event.client))
    core.touch(outcome.run)
    return True


def record_of(single: Single) -> RunRecord:
    """As `record.run_record`, of a run that ended."""
    assert single.value is not None
    graph = single.tables.body_of_run()
    seconds = rounded(single.seconds) if len(single.seconds) == 4 else None
    return RunRecord(
        single.event.run,
        single.tables.plan.flow,
        "success",
        single.value,
        None,
        None,
        single.submitted_ms,
        single.ended_ms,
        tuple([StepRecord(name, None, "success", 1, seconds, None) for _, name in graph.steps]),
        single.event.trigger,
    )


def unfold(core: Core, single: Single) -> Run:
    """The run that it would be had it begun, and ended, like all others. Changes nothing else."""
    commands, agenda, now = core.commands, core.agenda, core.now
    core.commands, core.agenda, core.now = [], deque(), single.submitted_ms
    try:
        run = new_run(core, single.event, single.seq, single.mark)
        run.args, run.begun_ms = b"", core.now
        graph = run.graph("", 0)
        run.body = body = open_flow(core, run, graph, parameters(core, run, graph, single.event.args))
        node = body.graph.lone
        body.states[node] = GRANTED
    finally:
        core.commands, core.agenda, core.now = commands, agenda, now
    if single.value is not None:
        if len(single.seconds) == 4:
            put_seconds(body, node, single.seconds)
        body.states[node], body.values[node], body.open = SUCCESS, single.value, 0
        run.state, run.result, run.ended_ms = SUCCESS, single.value, single.ended_ms
        run.scopes.clear()
    return run
