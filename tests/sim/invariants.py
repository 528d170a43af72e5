"""What must hold at every moment of every run. Each is a small function that raises Violation with what is wrong.

The fold that they look at is the simulation's own: an engine that reads every message of a partition's inbox in the
moment in which the server writes it, from the first on. No leader, snapshot or purge stands between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from flowc.plan import EachNode, LimitDef, Plan, StepSettings, TaskNode
from flowrun.engine.state import GRANTED, NAMES, SUCCESS, WAITING, Run, Scope, Timer
from flowrun.messages import Bundle, RunRecord, WorkItem

from tests.reference.compare import differences

from .programs import Program, settings_of

__all__ = [
    "Violation",
    "a_paused_run_starts_nothing",
    "a_rate_is_kept",
    "a_second_result_changes_nothing",
    "a_signal_counts_once",
    "a_terminal_state_is_final",
    "all_that_waits_will_be_woken",
    "every_accepted_run_ends_right",
    "levels_fire_once",
    "limits_are_kept",
    "no_result_runs_again",
    "no_step_runs_before_its_inputs",
    "no_timer_is_early",
    "only_the_leader_dispatches",
    "state_is_the_fold",
    "nothing_is_dispatched_twice",
    "usage_of",
    "what_was_undone_was_run",
    "work_is_on_its_way",
]

#: engine timers that wake nothing that is wanted: they end what takes too long
_LIMITS = ("deadline", "limit", "expires", "flow", "sla")


class Violation(AssertionError):
    """Something that must never happen did."""


def a_terminal_state_is_final(before: Mapping[int, bytes], run: Run) -> None:
    """`before`: the states of the run's nodes by scope, before the event."""
    for scope in run.scopes.values():
        old = before.get(scope.id, b"")
        for node, state in enumerate(old):
            if state >= SUCCESS and scope.states[node] != state:
                name = scope.graph.nodes[node].name or str(node)
                raise Violation(
                    f"step {name} of {run.id} (scope {scope.id}) had ended as {NAMES[state]} "
                    f"and is {NAMES[scope.states[node]]} now"
                )
        if scope.open != sum(state < SUCCESS for state in scope.states) + len(scope.asides):
            raise Violation(f"scope {scope.id} of {run.id} counts {scope.open} open nodes: {list(scope.states)}")


def a_second_result_changes_nothing(run: str, before: bytes, after: bytes, what: str) -> None:
    if before != after:
        raise Violation(f"the first result of an attempt counts, but a second one changed run {run}: {what}")


def no_timer_is_early(timer: Timer | None, run: str, name: str, now_ms: int, after: Mapping[str, Timer]) -> None:
    """`timer`: as it was set before its event came; `after`: the timers that are still set."""
    if timer is not None and timer.at_ms > now_ms and name not in after:
        raise Violation(f"timer {name} of {run} acted {timer.at_ms - now_ms} ms early")


def all_that_waits_will_be_woken(run: Run) -> None:
    """Something of it may be dispatched, a timer is set, it waits for permits, for the world, or to be resumed."""
    if run.ended or run.body is None or run.paused:
        return
    for scope in run.scopes.values():
        for node, wait in scope.waits.items():
            _will_be_woken(run, scope, node, wait.key)
    if run.awaits:
        return
    if any(timer.kind not in _LIMITS for timer in run.timers.values()):
        return
    for scope in run.scopes.values():
        if any(WAITING < state <= GRANTED for state in scope.states) or any(fan.live for fan in scope.fans.values()):
            return
        if any(_limited(settings_of(scope.graph.plan, scope.graph.block, node)) for node in scope.fans):
            return
    states = {scope.id: [NAMES[state] for state in scope.states] for scope in run.scopes.values()}
    raise Violation(f"run {run.id} waits for nothing that will ever come: {states}")


def _will_be_woken(run: Run, scope: Scope, node: int, key: str) -> None:
    """A step that waits for the world has a timer, or is found by what it waits for; and its patience ends."""
    name = scope.graph.nodes[node].name
    if not key and f"wake/{scope.id}/{node}" not in run.timers:
        raise Violation(f"step {name} of {run.id} sleeps, and nothing wakes it: {list(run.timers)}")
    if key and key not in run.awaits:
        raise Violation(f"step {name} of {run.id} waits for {key!r}, which nobody knows of: {list(run.awaits)}")
    limited = scope.graph.settings[node].timeout_ms is not None
    if key and limited and f"patience/{scope.id}/{node}" not in run.timers:
        raise Violation(f"step {name} of {run.id} waits for {key!r} for ever, and has a timeout")


def levels_fire_once(fired: dict[int, tuple[int, int]], run: Run) -> None:
    """A service level has a timer until it was missed, fires when it is due and not before, and never again. `fired`:
    number -> when a warning and a miss fired, as they were seen last; it is brought up to date."""
    for number, level in run.levels.open.items() if run.levels is not None else ():
        what = f"the {level.what} of {level.step or 'run'} of {run.id}"
        warned, missed = fired.get(number, (0, 0))
        if (warned and warned != level.warned_ms) or (missed and missed != level.missed_ms):
            raise Violation(f"{what} fired again: {fired[number]}, and now {level}")
        if 0 < level.missed_ms < level.due_ms or level.warned_ms >= level.due_ms:
            raise Violation(f"{what} fired at the wrong time: {level}")
        timer = run.timers.get(f"sla/{number}")
        if not level.missed_ms and (timer is None or timer.at_ms < (level.warn_ms or level.due_ms)):
            raise Violation(f"{what} has no timer that fires it: {level}, {timer}")
        fired[number] = level.warned_ms, level.missed_ms


def a_signal_counts_once(run: str, kept: int, took: int, is_new: bool, name: str) -> None:
    """`kept`: so many more signals a run keeps; `took`: so many steps that waited for one are successes since it."""
    if max(kept, 0) + took > is_new:
        raise Violation(f"a signal {name} changed {run} by {kept} signals kept and {took} steps that took one")


def a_paused_run_starts_nothing(run: Run, before: int, what: str) -> None:
    """`before`: how it was paused before an event since which this is to be run, for the first time."""
    if run.paused and before:
        raise Violation(f"run {run.id} is paused, and {what} is to be run")


def what_was_undone_was_run(run: str, record: RunRecord, begun: Collection[tuple[str, str]]) -> None:
    """`begun`: (run, step) of all that a worker ever began, steps without what stands before their names."""
    for row in record.steps:
        name = row.step.rpartition(".")[2]
        if name.startswith("undo ") and row.state == "success" and (run, name) not in begun:
            raise Violation(f"{row.step} of {run} is a success, and nobody ran it")


def limits_are_kept(used: Mapping[str, int], limits: Mapping[str, int]) -> None:
    """Of all that may run at this moment, in all partitions: by the names of what is limited."""
    for name, limit in limits.items():
        if used.get(name, 0) > limit:
            raise Violation(f"{name} allows {limit}, and {used[name]} are used")


def usage_of(run: Run) -> dict[str, tuple[int, int]]:
    """What may run of a run, by the names of what limits it: how much of it, and the limit."""
    found: dict[str, tuple[int, int]] = {}

    def add(name: str, count: int, limit: int) -> None:
        found[name] = (found.get(name, (0, 0))[0] + count, limit)

    if run.body is not None and not run.ended and run.tables is not None:
        plan = run.tables.plan
        if plan.max_active_runs is not None:
            add(f"flow {plan.flow}", 1, plan.max_active_runs)
        if plan.concurrency is not None:
            add(f"key of flow {plan.flow}", 1, plan.concurrency.limit)
    for scope in run.scopes.values():
        _add_steps(scope, add)
    return found


def _add_steps(scope: Scope, add: Callable[[str, int, int], None]) -> None:
    plan = scope.graph.plan
    for node, state in enumerate(scope.states):
        step = scope.graph.nodes[node]
        if state != GRANTED or not isinstance(step, TaskNode):
            continue
        settings = scope.graph.settings[node]
        if settings.pool is not None:
            pool = plan.pools[settings.pool]
            add(f"pool {pool.name}", min(settings.slots, pool.slots), pool.slots)
        if settings.concurrency is not None:
            add(f"key of step {plan.flow}/{step.name or node}", 1, settings.concurrency.limit)
    for node, fan in scope.fans.items():
        settings = settings_of(scope.graph.plan, scope.graph.block, node)
        each = scope.graph.nodes[node]
        if settings.pool is not None and isinstance(each, EachNode) and each.simple:
            pool = plan.pools[settings.pool]
            granted = sum(state == GRANTED for state in fan.states)
            add(f"pool {pool.name}", granted * min(settings.slots, pool.slots), pool.slots)


def a_rate_is_kept(definition: LimitDef, times_ms: Sequence[int]) -> None:
    """`times_ms`: when work that needs a token began to be wanted, of one partition, in order."""
    level, before = float(definition.burst), times_ms[0]
    for time_ms in times_ms:
        level = min(definition.burst, level + (time_ms - before) * definition.rate / definition.per_ms) - 1
        before = time_ms
        if level < -1e-6:
            raise Violation(f"rate {definition.name} was exceeded at {time_ms}: {list(times_ms)}")


def _limited(settings: StepSettings) -> bool:
    return settings.pool is not None or settings.limit is not None or settings.concurrency is not None


def no_step_runs_before_its_inputs(run: Run | None, item: WorkItem, plan: Plan, chained: tuple[int, ...]) -> None:
    """`run` as the fold has it; `chained`: nodes whose results the worker has, but maybe not the inbox."""
    scope = run.scopes.get(item.scope) if run else None
    if scope is None or item.node in chained:
        return
    plan = plan.children[item.flow] if item.flow else plan
    node = plan.blocks[item.block].nodes[item.node]
    if scope.states[item.node] == WAITING and not chained:
        raise Violation(f"{item.id} ({node.name}) runs, and nobody allowed it")
    for given in node.inputs:
        if scope.states[given.node] < SUCCESS and given.node not in chained:
            raise Violation(f"{item.id} ({node.name}) runs before node {given.node}, whose value it needs, has ended")


def no_result_runs_again(item: WorkItem, index: int, since: float | None) -> None:
    """`since`: for so many seconds everybody could have known its result."""
    if since is not None:
        raise Violation(f"{item.id}[{index}] runs again, and its result was accepted {since:.3f} s ago")


def only_the_leader_dispatches(partition: str, who: str, fence: int, leader: tuple[str, int] | None) -> None:
    if leader != (who, fence):
        raise Violation(f"{who} dispatches work of partition {partition} with fence {fence}, which {leader} leads")


def nothing_is_dispatched_twice(bundle: Bundle, others: Mapping[tuple[str, int], str]) -> None:
    """`others`: (attempt, item) -> a bundle that holds it and that nobody reported lost."""
    for item in bundle.items:
        for index in range(item.first, item.last) if item.first >= 0 else (-1,):
            other = others.get((item.id, index))
            if other is not None:
                raise Violation(f"{item.id}[{index}] is dispatched in {bundle.id}, and stands in {other}")


def work_is_on_its_way(attempt: str, nowhere: Collection[tuple[str, int]]) -> None:
    """`nowhere`: units that a leader owes to workers, and that neither wait for their turn, nor are sent, nor stand."""
    if nowhere:
        raise Violation(f"{attempt} is to be run, and nobody dispatches {sorted(nowhere)}")


def state_is_the_fold(partition: str, leader: Mapping[str, bytes], fold: Mapping[str, bytes], seq: int) -> None:
    """The packed parts of a leader's state after a message, and those of the fold."""
    for name in sorted(leader.keys() | fold.keys()):
        if leader.get(name) != fold.get(name):
            raise Violation(
                f"after message {seq} of partition {partition} its leader has {name} as {leader.get(name)!r}, "
                f"and the fold of the inbox has it as {fold.get(name)!r}"
            )


def every_accepted_run_ends_right(
    run: str, program: Program, record: RunRecord | None, blobs: Mapping[str, bytes], *, cancelled: bool, expired: bool,
    in_part: bool,
) -> None:  # fmt: skip
    """`cancelled`, `expired`: it may also have ended so; `in_part`: only a step was cancelled, if so."""
    if record is None:
        raise Violation(f"run {run} was accepted, and has no end")
    if cancelled and in_part and record.state in ("success", "failed"):
        return  # what follows from that, other tests say
    if (cancelled and record.state == "cancelled") or (expired and record.state == "expired"):
        return
    if cancelled and (record.state != program.report.state or any(row.state == "cancelled" for row in record.steps)):
        return  # it was too late to change how the run ends, but not for all of its steps
    wrong = differences(program.report, record, "json", blobs.__getitem__, attempts=False)
    if wrong:
        raise Violation(f"run {run} did not end as it must: {'; '.join(wrong)}\n{program.text}")
