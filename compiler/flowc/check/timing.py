"""Whether the times of a flow can be kept: its timeout, its service level, its triggers.

Two lengths of a flow are worked out over the graph of its steps, as what is declared says:

    what it can take     each attempt takes as long as its `timeout` lets it, and the first one succeeds
    what it surely takes the waits alone: `sleep` for a constant time, and `delay`

Steps without limits count as nothing, and so do loops but for one round, so both are never too long. Handlers run
beside the flow, and do not count. A call of a flow counts with what stands in it. Of each finding only the first is
told per flow: the others have the same cause.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowc import ir, plan, syntax
from flowc.resolve import Symbol

from .context import Context, Shared
from .durations import attempts_ms, shown_ms, sum_of_attempts
from .pools import calls_in

__all__ = ["check_attempts", "report_times"]

#: how long a step that is a call takes
_Weight = Callable[[ir.CallStep | ir.ChildStep], int]
#: tasks that wait for a time, and the argument that says how long
_SLEEPS = {"std.wait:sleep": "for", "std.time:sleep": "duration"}
#: ticks that are looked at for the shortest time between two
_TICKS = 200
#: 2026-01-01, from where they are looked at: always the same, so that a finding does not come and go
_FROM_MS = 1_767_225_600_000


def check_attempts(cx: Context, node: syntax.Node, settings: ir.Settings) -> None:
    """Reports attempts of one step that its own `deadline` or service level has no time for."""
    longest = attempts_ms(settings)
    if longest is None or settings.retry is None or not settings.retry.max:
        return
    limits = {"deadline": settings.deadline_ms, "sla": None if settings.sla is None else settings.sla.finish_ms}
    for name, limit in limits.items():
        if limit is not None and longest > limit:
            finding = "retries-exceed-timeout" if name == "deadline" else "retries-exceed-sla"
            cx.report(finding, node, step="the step", sum=sum_of_attempts(settings), name=name, limit=shown_ms(limit))


def report_times(shared: Shared, flows: Mapping[Symbol, ir.Flow]) -> None:
    """Reports what cannot be kept in the flows of the program."""
    by_key = {symbol.key: flow for symbol, flow in flows.items()}
    for symbol, flow in flows.items():
        assert isinstance(symbol.node, syntax.FlowDecl)
        _Times(Context(shared, symbol.module, symbol), symbol.node, flow, by_key).report()


class _Times:
    """The times of one flow."""

    def __init__(self, place: Context, node: syntax.FlowDecl, flow: ir.Flow, flows: Mapping[str, ir.Flow]) -> None:
        self._place = place
        self._node = node
        self._flow = flow
        self._flows = flows

    def report(self) -> None:
        sla = None if self._flow.sla is None else self._flow.sla.finish_ms
        self._attempts("timeout", self._flow.timeout_ms, "retries-exceed-timeout")
        self._attempts("sla", sla, "retries-exceed-sla")
        self._children()
        if sla is not None:
            longest = _Path(self._flows, _allowed).length(self._flow)
            if longest > sla:
                self._told("sla", "sla-below-critical-path", longest=shown_ms(longest), limit=shown_ms(sla))
        self._intervals()
        self._catchup()
        self._misses()

    def _told(self, setting: str, finding: str, **fields: Any) -> None:
        """A finding at a setting of the flow."""
        node = self._setting(setting)
        if node is not None:
            self._place.report(finding, node, **fields)

    def _setting(self, name: str) -> syntax.Node | None:
        for statement in self._node.body.statements:
            if isinstance(statement, syntax.Setting) and statement.name.text == name:
                return statement.value
        return None

    def _attempts(self, name: str, limit: int | None, finding: str) -> None:
        """A step whose attempts alone can take longer than the whole flow has."""
        for step in calls_in((self._flow.body,), handlers=False) if limit is not None else ():
            longest = attempts_ms(step.settings)
            has_retries = step.settings.retry is not None and step.settings.retry.max
            deadline = step.settings.deadline_ms
            if limit is None or longest is None or not has_retries or (deadline is not None and deadline <= limit):
                continue
            if longest > limit:
                what = f"`{step.name}` (line {step.line})"
                fields = {"sum": sum_of_attempts(step.settings), "name": name, "limit": shown_ms(limit)}
                self._told(name, finding, step=what, **fields)
                return

    def _children(self) -> None:
        limit = self._flow.timeout_ms
        for step in calls_in((self._flow.body,), handlers=False) if limit is not None else ():
            child = self._flows.get(step.flow) if isinstance(step, ir.ChildStep) and not step.detached else None
            if child is None or child.timeout_ms is None or limit is None or child.timeout_ms <= limit:
                continue
            own = step.settings.timeout_ms
            if own is None or own > limit:
                longest = shown_ms(child.timeout_ms)
                self._told("timeout", "child-timeout-exceeds-parent", child=child.name, line=step.line,
                           longest=longest, limit=shown_ms(limit))  # fmt: skip
                return

    # -- triggers -----------------------------------------------------------------------------------------------------

    def _intervals(self) -> None:
        """Triggers that start runs faster than they can end."""
        least = _Path(self._flows, _waited).length(self._flow) if self._flow.triggers else 0
        if not least:
            return
        for trigger in self._flow.triggers:
            gap = _shortest(trigger.source)
            if gap is not None and gap < least:
                self._place.report(
                    "interval-shorter-than-runtime", self._trigger(trigger), every=shown_ms(gap), least=shown_ms(least)
                )

    def _trigger(self, trigger: ir.Trigger) -> syntax.Node:
        for statement in self._node.body.statements:
            if isinstance(statement, syntax.TriggerStmt) and statement.name.text == trigger.name:
                return statement.value
        return self._node.signature.name

    def _catchup(self) -> None:
        flow = self._flow
        if not flow.catchup:
            return
        grids = [trigger for trigger in flow.triggers if isinstance(trigger.source, ir.Cron | ir.Interval)]
        begun = [trigger for trigger in grids if trigger.start_ms is not None]
        if not begun:
            hint = "add `start: 2026-01-01` to the trigger" if grids else "add a trigger with a `start`, or remove it"
            self._told("catchup", "catchup-without-start", hint=hint)
        elif flow.max_active_runs is None and flow.concurrency is None and not flow.depends_on_past:
            self._told("catchup", "unbounded-catchup", trigger=begun[0].name)

    def _misses(self) -> None:
        """`on sla_miss` of a flow in which nothing has a service level."""
        for statement in self._node.body.statements:
            if isinstance(statement, syntax.Handler) and statement.event.text == "sla_miss" and not self._has_level():
                self._place.report("sla-miss-never-comes", statement.event, where=f"the flow `{self._flow.name}`")
                return

    def _has_level(self) -> bool:
        """It, one of its steps, or something in a child run: what misses there is told here, too."""
        waiting, seen = [self._flow], {self._flow.name}
        while waiting:
            flow = waiting.pop()
            if flow.sla is not None:
                return True
            for step in calls_in((flow.body, *(handler.body for handler in flow.handlers))):
                child = self._flows.get(step.flow) if isinstance(step, ir.ChildStep) and not step.detached else None
                if step.settings.sla is not None:
                    return True
                if child is not None and child.name not in seen:
                    seen.add(child.name)
                    waiting.append(child)
        return False


def _shortest(source: ir.TriggerSource) -> int | None:
    """The shortest time between two ticks, as far as it can be told."""
    if isinstance(source, ir.AnyOf):
        return min((gap for gap in map(_shortest, source.sources) if gap is not None), default=None)
    if isinstance(source, ir.Interval):
        return source.every_ms
    if not isinstance(source, ir.Cron):
        return None
    from flowc.schedules import ticks  # start-up time

    found: list[int] = []
    for tick in ticks(plan.CronSource(**source.model_dump(exclude={"kind"})), _FROM_MS):
        found.append(tick)
        if len(found) == _TICKS:
            break
    return min((b - a for a, b in itertools.pairwise(found)), default=None)


# ---- the length of a flow -------------------------------------------------------------------------------------------


def _allowed(step: ir.CallStep | ir.ChildStep) -> int:
    """What one attempt may take."""
    return step.settings.timeout_ms or 0


def _waited(step: ir.CallStep | ir.ChildStep) -> int:
    """What a step surely waits."""
    waited = step.settings.delay_ms or 0
    if isinstance(step, ir.CallStep) and step.task in _SLEEPS:
        expr = step.args.get(_SLEEPS[step.task], [""])
        waited += expr[1] // 1000 if expr[0] == "duration" else 0
    return waited


class _Path:
    """The longest way through the steps of a flow."""

    def __init__(self, flows: Mapping[str, ir.Flow], weight: _Weight) -> None:
        self._flows = flows
        self._weight = weight
        #: flows that are being measured: one that calls itself counts once
        self._open: list[str] = []
        #: when each step has ended
        self._ends: dict[int, int] = {}

    def length(self, flow: ir.Flow) -> int:
        return self._block(flow.body, 0)

    def _block(self, block: ir.Block, begin: int) -> int:
        """When the last of its steps has ended."""
        end = begin
        for step in block.steps:
            needed = max((self._ends.get(id, 0) for id in _reads(step)), default=0)
            self._ends[step.id] = self._step(step, max(begin, needed))
            end = max(end, self._ends[step.id])
        return end

    def _step(self, step: ir.Step, begin: int) -> int:
        match step:
            case ir.CallStep():
                return begin + self._weight(step)
            case ir.ChildStep():
                return begin + self._child(step)
            case ir.BranchStep(arms=arms):
                return self._arms(step, arms, begin)
            case ir.CatchStep(body=body):
                return self._block(body, begin)
            case ir.EachStep(body=body) | ir.RepeatStep(body=body):
                return self._block(body, begin)
            case ir.UsingStep(setup=setup, body=body, cleanup=cleanup):
                begun = self._ends[step.value_id] = self._block(setup, begin)
                return self._block(cleanup, self._block(body, begun))
        return begin

    def _arms(self, step: ir.BranchStep, arms: Iterable[ir.Block], begin: int) -> int:
        """What can be taken of a branch; where lengths are what surely goes by, that is the shortest arm."""
        ends = [self._block(arm, begin) for arm in arms]
        end = begin if not ends or self._weight is _waited else max(ends)
        for merge in step.merges:
            self._ends[merge.id] = end
        return end

    def _child(self, step: ir.ChildStep) -> int:
        own = self._weight(step)
        flow = self._flows.get(step.flow)
        if step.detached or flow is None or step.flow in self._open:
            return own
        inner = _Path(self._flows, self._weight)
        inner._open = [*self._open, step.flow]
        length = inner.length(flow)
        limits = [limit for limit in (step.settings.timeout_ms, flow.timeout_ms) if limit is not None]
        if self._weight is _allowed:
            return min([length, *limits]) if length else min(limits, default=0)
        return own + length


def _reads(step: ir.Step) -> Iterable[int]:
    """The ids that a step itself waits for."""
    for rule in step.after:
        yield from rule.steps
    match step:
        case ir.CallStep(args=args) | ir.ChildStep(args=args):
            for arg in args.values():
                yield from _ids(arg)
        case ir.ValueStep(value=expr) | ir.BranchStep(selector=expr) | ir.EachStep(source=expr):
            yield from _ids(expr)
        case ir.JoinStep(members=members):
            yield from members


def _ids(expr: ir.Expr) -> Iterable[int]:
    if expr and expr[0] in ("ref", "opt"):
        yield expr[1]
        return
    for part in expr:
        if isinstance(part, list):
            yield from _ids(part)
