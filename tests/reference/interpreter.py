"""A naive interpreter of programs, for the tests: it says how a run must end.

It walks the checked tree (`flowc.ir`) in written order, which is an order of the dependencies, and calls the tasks as
plain functions, one after another: no graph, no queue, no clock, no bytes on a wire. What it says follows from
`language.md` and `trigger-rules.md` alone; expressions are evaluated by `flowrun.expr`.

What people and others say to a run follows from the names of what it waits for (`outside`), so nobody is waited for
here either. What a real run may do either way is marked (`Report.open`): items of an `each` above the first that failed
may have ended, or not have begun; members that a join cancels; what runs only while something else has `not_yet` ended.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

from flowc import ir
from flowc.lower.type_text import parse
from flowc.types import JSON, Optional, Type
from flowrun import values
from flowrun.expr import Env as ExprEnv
from flowrun.expr import ExpressionError, compile_expr
from flowrun.functions import pairs
from flowrun.operator import Context, Fail, Skip

from .behaviours import Instead
from .outcomes import UNDO, Done, Ended, Error, Open, Outcome, Place, Report, Row, Scope
from .outside import NEVER, Expected, agreed, brought
from .rules import FAILED, RUN, SKIPPED, SUCCESS, UPSTREAM_FAILED, verdict, worst
from .uses import RETURN, computed_parts, names_in, outer_references, references, user_of, uses_in

__all__ = ["interpret"]

Tasks = Mapping[str, Callable[..., object] | Instead]
#: rules that look at the items of an `each`
_BY_ITEM = ("any_ok", "any_failed", "any_done", "at_least")
#: the value of what waits for a time; when that is, nobody knows
_LATER = "2026-01-01T00:00:00Z"
#: so long nothing else takes
_LONG = timedelta(minutes=30)


def interpret(program: ir.Program, flow: str, tasks: Tasks, args: Mapping[str, Any] | None = None) -> Report:
    """How a run of the flow (by its key) ends. `tasks` are Python functions by the task's name; one with a parameter
    of type Context is given the number of the attempt in it."""
    report = _Run(program, tasks).flow(program.flows[flow], dict(args or {}))
    report.expected.questions.update({row.path: row.asks for row in report.rows if row.asks is not None})
    return report


class _Ended(Exception):
    """What takes the place of a task did not end well."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.state)
        self.outcome = outcome


class _Run:
    def __init__(self, program: ir.Program, tasks: Tasks) -> None:
        self.program = program
        self.tasks = tasks
        self.expected = Expected()
        #: what was done in the place of the last task
        self.instead: list[Row] = []
        #: the title of the last question
        self.asked: str | None = None
        #: the flows that call each other now
        self.depth: list[str] = []

    # ---- flows ------------------------------------------------------------------------------------------------------

    def flow(self, flow: ir.Flow, args: dict[str, Any]) -> Report:
        env = {0: Outcome(SUCCESS, {"id": "reference", "flow": flow.name})}
        for param in flow.params:
            value = args[param.name] if param.name in args else self.value(param.default or ["lit", None], env)
            env[param.id] = Outcome(SUCCESS, typed(value, param.type))
        scope = Scope(frozenset(names_in(flow.body)), uses_in(flow.body))
        outcome, failed = self.body(flow.body, Place(env, scope, []), flow.returns or "json")
        ended_well = failed is None
        done = () if flow.on_failure == "compensate" and not ended_well else tuple(scope.done)
        for undoable in reversed(scope.done) if not done else ():
            scope.rows.append(self.undone(undoable))
        for handler in flow.handlers:
            if handler.event == ("success" if ended_well else "failure"):
                self.handler(handler, outcome, failed, env, scope)
        rows, found = tuple(scope.rows), tuple(scope.open)
        if failed is None:
            is_skipped = outcome.state == SKIPPED
            return Report(SUCCESS, outcome.value, None, None, rows, found, is_skipped, self.expected, done)
        error, step = failed.outcome.error, failed.blame or None
        return Report(FAILED, None, error, step, rows, found, False, self.expected, done)

    def undone(self, done: Done) -> Row:
        """What becomes of a step that is undone: its row."""
        env = ExprEnv(args=done.args)
        task = self.program.tasks[done.undo.task]
        types = {param.name: param.type for param in task.params}
        args = {name: typed(compile_expr(arg)(env), types[name]) for name, arg in done.undo.args.items()}
        outcome = self.tried(task, args, done.undo.settings)
        return Row(f"{done.prefix}{UNDO}{done.name}", done.index, outcome.state, outcome.attempts)

    def handler(
        self, handler: ir.Handler, outcome: Outcome, failed: Ended | None, env: dict[int, Outcome], scope: Scope
    ) -> None:
        """A handler sees every step that has no value as null."""
        seen = {id: found if found.state == SUCCESS else Outcome(SUCCESS) for id, found in env.items()}
        value = outcome.value if failed is None else failure_record(failed, None)
        seen[handler.value_id] = Outcome(SUCCESS, value)
        inner = Scope(scope.names, uses_in(handler.body))
        self.steps(handler.body.steps, Place(seen, inner, []))
        scope.rows += inner.rows
        scope.open += inner.open

    def asides(self, step: ir.WatchStep, watched: Ended, place: Place) -> None:
        """`on retry`: of each attempt that failed and was followed by another; the last one is shown."""
        last: Scope | None = None
        for number, error in enumerate(watched.outcome.retried, 1):
            failed = Outcome(FAILED, error=error, attempts=number)
            seen = dict(place.env)
            record = failure_record(Ended(watched.name, None, failed, blame=watched.blame), place.scope.index)
            seen[step.value_id] = Outcome(SUCCESS, record)
            last = Scope(place.scope.names, uses_in(step.body))
            self.steps(step.body.steps, Place(seen, last, []))
        if last is not None:
            place.scope.rows += last.rows
            place.scope.open += last.open

    def body(self, block: ir.Block, place: Place, type: str) -> tuple[Outcome, Ended | None]:
        """How a scope ends: failed if a step failed that nothing handled, or if what gives its value did; and that
        step."""
        self.steps(block.steps, place)
        value = Outcome(SUCCESS) if block.result is None else self.node(block.result, place, type, RETURN)
        failed = next((found for found in place.frame if is_failure(found)), None)
        if failed is None and value.state in (FAILED, UPSTREAM_FAILED):
            failed = place.scope.failed[0] if place.scope.failed else NOBODY
        return (value, None) if failed is None else (Outcome(FAILED, error=failed.outcome.error), failed)

    # ---- expressions ------------------------------------------------------------------------------------------------

    def value(self, expr: ir.Expr, env: Mapping[int, Outcome]) -> Any:
        """Raises ExpressionError."""
        return compile_expr(plugged(expr, env))(ExprEnv(args={str(id): found.value for id, found in env.items()}))

    def node(self, expr: ir.Expr, place: Place, type: str, feeds: int) -> Outcome:
        """The outcome of an expression that stands by itself, as a part of what has the id `feeds`: that of the step
        for a mere reference."""
        if expr[0] == "ref":
            return place.env[expr[1]]
        outcome = self.computed(expr, place, type, ())
        self.record("", None, outcome, place, feeds=feeds)
        return outcome

    def computed(self, expr: ir.Expr, place: Place, type: str, after: tuple[ir.Rule, ...]) -> Outcome:
        state = self.verdict((expr,), after, place)
        if state != RUN:
            return Outcome(state)
        try:
            return Outcome(SUCCESS, typed(self.value(expr, place.env), type))
        except ExpressionError as error:
            return Outcome(FAILED, error=Error("ExpressionError", str(error)))

    def verdict(self, exprs: Iterable[ir.Expr], after: Iterable[ir.Rule], place: Place) -> str:
        """Whether a step may run: its place, its data edges, its rules."""
        if place.guard != RUN:
            return place.guard
        refs, opts = set[int](), set[int]()
        for expr in exprs:
            for op, id in references(expr):
                (refs if op == "ref" else opts).add(id)
        found = [verdict("ok", [place.env[id].state for id in refs])]
        found += [verdict("none_failed", [place.env[id].state for id in opts - refs])]
        for rule in after:
            if rule.rule == "not_yet":  # there is no time here: see `call_step`
                continue
            states = [state for id in rule.steps for state in self.upstream(rule, place.env[id])]
            found.append(verdict(rule.rule, states, rule.n))
        return worst(found)

    def upstream(self, rule: ir.Rule, outcome: Outcome) -> tuple[str, ...]:
        return outcome.items if rule.rule in _BY_ITEM and outcome.items else (outcome.state,)

    # ---- steps ------------------------------------------------------------------------------------------------------

    def steps(self, steps: Iterable[ir.Step], place: Place) -> None:
        for step in steps:
            before, rows = len(place.frame), len(place.scope.rows)
            getattr(self, f"{step.kind}_step")(step, place)
            place.scope.parts[step.id] = place.frame[before:]
            place.scope.names_of[step.id] = frozenset(row.step for row in place.scope.rows[rows:])

    def record(
        self,
        name: str,
        id: int | None,
        outcome: Outcome,
        place: Place,
        *,
        is_copy: bool = False,
        feeds: int | None = None,
        otherwise: str = "",
    ) -> Ended:
        """`otherwise` is what to call a part that nothing with a name uses."""
        part = id if feeds is None else feeds
        blame = name or (user_of(part, place.scope.uses) if part is not None else "") or otherwise
        ended = Ended(name, id, outcome, is_copy, blame)
        if id is not None:
            place.env[id] = outcome
        place.frame.append(ended)
        if is_failure(ended):
            place.scope.failed.append(ended)
        if name:
            attempts = outcome.attempts or int(outcome.state in (SUCCESS, FAILED))
            place.scope.rows.append(Row(name, (), outcome.state, attempts))
        return ended

    def value_step(self, step: ir.ValueStep, place: Place) -> None:
        outcome = self.computed(step.value, place, step.type, step.after)
        self.record(step.name, step.id, outcome, place, otherwise=step.box[-1] if step.box else "")

    def call_step(self, step: ir.CallStep, place: Place) -> None:
        state = self.verdict(step.args.values(), step.after, place)
        self.asked = None
        self.instead = []
        outcome = self.attempts(step, place) if state == RUN else Outcome(state)
        self.record(step.name, step.id, outcome, place)
        place.scope.rows += [replace(row, step=f"{step.name}.{row.step}") for row in self.instead]
        if any(rule.rule == "not_yet" for rule in step.after):
            place.scope.open.append(Open(frozenset({step.name}), (), None))
        if self.asked is not None:
            place.scope.rows[-1] = replace(place.scope.rows[-1], asks=self.asked)

    def attempts(self, step: ir.CallStep, place: Place) -> Outcome:
        task = self.program.tasks[step.task]
        types = {param.name: param.type for param in task.params}
        try:
            args = {name: typed(self.value(arg, place.env), types[name]) for name, arg in step.args.items()}
        except ExpressionError as error:
            return Outcome(FAILED, error=Error("ExpressionError", str(error)), attempts=1)
        if task.operator == "wait":
            return self.wait(task, step, args)
        outcome = self.tried(task, args, step.settings)
        if outcome.state == SUCCESS and step.undo is not None:
            known = {**{param.name: None for param in task.params}, **args, "result": outcome.value}
            place.scope.done.append(Done("", step.name, (), step.undo, known))
        return outcome

    def tried(self, task: ir.Task, args: dict[str, Any], settings: ir.Settings) -> Outcome:
        """All attempts of a call."""
        retried: list[Error] = []
        for attempt in range(1, 1_000):
            outcome, again = self.attempt(task, args, attempt)
            if outcome.state != FAILED or not (again and may_retry(settings.retry, attempt, outcome)):
                return replace(outcome, retried=tuple(retried))
            assert outcome.error is not None
            retried.append(outcome.error)
        raise AssertionError("a task is tried for ever")

    def wait(self, task: ir.Task, step: ir.CallStep, args: dict[str, Any]) -> Outcome:
        """What comes of a step that waits: it runs nowhere."""
        about = args.get("name", args.get("subject", ""))
        if about.startswith(NEVER):
            return Outcome(FAILED, error=Error("Timeout", "nothing came"), attempts=1)
        match task.target:
            case "sleep":
                return Outcome(SUCCESS, _LATER, attempts=1, is_late=args["for"] >= _LONG)
            case "signal":
                self.expected.signals.append(about)
            case "event":
                self.expected.events.add(about)
            case "approval":
                self.asked = args["title"]
                yes = agreed(self.asked)
                if not yes and args["on_reject"] != "return":
                    return Outcome(FAILED, error=Error("Rejected", "somebody rejected it"), attempts=1)
                answer = {"approved": yes, "by": "somebody", "note": None, "at": _LATER}
                return Outcome(SUCCESS, answer, attempts=1)
        return Outcome(SUCCESS, brought(about), attempts=1)

    def attempt(self, task: ir.Task, args: dict[str, Any], number: int) -> tuple[Outcome, bool]:
        """One attempt, and whether another one may follow if it failed."""
        function = self.tasks[task.name]
        if isinstance(function, Instead):
            return self.others(function, args), False
        try:
            value = call(function, args, number)
            kind = parse(task.returns) if task.returns is not None else None
            result = None if kind is None else values.decode(values.check(value, kind), kind, _no_blobs)
            return Outcome(SUCCESS, result, attempts=number), False
        except Skip:
            return Outcome(SKIPPED, attempts=number), False
        except (values.TypeMismatch, values.NotSerialisable) as error:
            return Outcome(FAILED, error=Error(type(error).__name__, str(error)), attempts=number), False
        except Exception as error:
            failed = Outcome(FAILED, error=Error(type(error).__name__, str(error)), attempts=number)
            return failed, not isinstance(error, Fail)

    def others(self, instead: Instead, args: dict[str, Any]) -> Outcome:
        """What comes of a task that others take the place of."""

        def do(name: str, *given: Any) -> Any:
            function = self.tasks[name]
            assert not isinstance(function, Instead)
            try:
                value = function(*given)
            except Exception as error:
                self.instead.append(Row(name, (), FAILED, 1))
                raise _Ended(Outcome(FAILED, error=Error(type(error).__name__, str(error)), attempts=1)) from error
            self.instead.append(Row(name, (), SUCCESS, 1))
            return value

        try:
            return Outcome(SUCCESS, instead.steps(do, *args.values()), attempts=1)
        except _Ended as ended:
            return ended.outcome

    def child_step(self, step: ir.ChildStep, place: Place) -> None:
        state = self.verdict(step.args.values(), step.after, place)
        outcome, rows = self.child(step, place) if state == RUN else (Outcome(state), [])
        self.record(step.name, step.id, outcome, place)
        place.scope.rows += rows

    def child(self, step: ir.ChildStep, place: Place) -> tuple[Outcome, list[Row]]:
        try:
            args = {name: self.value(arg, place.env) for name, arg in step.args.items()}
        except ExpressionError as error:
            return Outcome(FAILED, error=Error("ExpressionError", str(error)), attempts=1), []
        if step.detached:
            self.expected.detached += 1
            return Outcome(SUCCESS, "the id of a run", attempts=1), []
        called, retried = self.program.flows[step.flow], list[Error]()
        if called.max_depth is not None and self.depth.count(step.flow) >= called.max_depth:
            return Outcome(FAILED, error=Error("TooDeep", "it called itself too often"), attempts=1), []
        for attempt in range(1, 1_000):
            self.depth.append(step.flow)
            report = self.flow(called, args)
            self.depth.pop()
            place.scope.done += [done.inside(f"{step.name}.") for done in report.done]
            rows = [replace(row, step=f"{step.name}.{row.step}") for row in report.rows]
            opened = [
                Open(frozenset(f"{step.name}.{name}" for name in found.steps), found.prefix, found.failed)
                for found in report.open
            ]
            if report.state == SUCCESS:
                place.scope.open += opened
                if report.is_skipped and not isinstance(parse(step.type), Optional):
                    return Outcome(SKIPPED, attempts=attempt, retried=tuple(retried)), rows
                value = typed(report.value, step.type)
                return Outcome(SUCCESS, value, attempts=attempt, retried=tuple(retried)), rows
            assert report.error is not None
            message = f"{report.step}: {report.error.message}" if report.step else report.error.message
            failed = Outcome(FAILED, error=Error(report.error.type, message), attempts=attempt)
            if not may_retry(step.settings.retry, attempt, failed):
                place.scope.open += [Open(frozenset({step.name}), found.prefix, found.failed) for found in report.open]
                return replace(failed, retried=tuple(retried)), rows
            assert failed.error is not None
            retried.append(failed.error)
        raise AssertionError("a child run is tried for ever")

    # ---- branches ---------------------------------------------------------------------------------------------------

    def branch_step(self, step: ir.BranchStep, place: Place) -> None:
        taken = self.computed(step.selector, place, "int", step.after)
        branch = self.record(step.name, None, taken, place, feeds=step.id, otherwise="if")
        for number, arm in enumerate(step.arms):
            if taken.state == SUCCESS:
                guard = RUN if taken.value == number else SKIPPED
            else:
                guard = blocked_by(taken.state)
            self.steps(arm.steps, place.at(guard))
        for merge in step.merges:
            self.merge(merge, branch, place)

    def merge(self, merge: ir.Merge, branch: Ended, place: Place) -> None:
        taken = outcome = branch.outcome
        cause = branch
        if taken.state == SUCCESS:
            known = 0 <= taken.value < len(merge.sources)
            source = merge.sources[taken.value] if known else merge.otherwise
            outcome = Outcome(SKIPPED) if source is None else place.env[source]
            cause = next((found for found in reversed(place.frame) if found.id == source), branch)
        shown = "" if merge.name in place.scope.names else merge.name
        ended = self.record(shown, merge.id, copied(outcome), place, is_copy=True)
        ended.cause = None if shown else cause

    def catch_step(self, step: ir.CatchStep, place: Place) -> None:
        place = place.at(self.verdict((), step.after, place))
        covered: list[Ended] = []
        inside = place.at(RUN, covered)
        body = self.block(step.body, inside, step.type, step.id)
        failed = next((found for found in covered if is_failure(found)), None)
        if failed is not None:
            place.env[step.error_id] = Outcome(SUCCESS, failure_record(failed, place.scope.index))
        handler = self.block(step.handler, place.at(SKIPPED if failed is None else RUN), step.type, step.id)
        self.record(step.name, step.id, copied(body if failed is None else handler), place, is_copy=True)

    def block(self, block: ir.Block, place: Place, type: str, feeds: int) -> Outcome:
        """The outcome of a block within a scope; null, once all its steps ended well, if it gives no value."""
        before = len(place.frame)
        self.steps(block.steps, place)
        if block.result is not None and block.result != ["lit", None]:
            return self.node(block.result, place, type, feeds)
        states = [found.outcome.state for found in place.frame[before:]]
        state = place.guard if place.guard != RUN else verdict("none_failed", states)
        return Outcome(SUCCESS if state == RUN else state)

    def watch_step(self, step: ir.WatchStep, place: Place) -> None:
        ended = next((found for found in reversed(place.frame) if found.id == step.step), None)
        if step.event == "retry":
            if ended is not None:
                self.asides(step, ended, place)
            return
        place = place.at(self.verdict((), step.after, place))
        watched = place.env[step.step]
        holds = watched.state == {"success": SUCCESS, "failure": FAILED, "skip": SKIPPED}.get(step.event)
        if holds and step.event == "failure":
            assert ended is not None
            place.env[step.value_id] = Outcome(SUCCESS, failure_record(ended, place.scope.index))
        elif holds:
            place.env[step.value_id] = Outcome(SUCCESS, watched.value if step.event == "success" else None)
        self.steps(step.body.steps, place.at(RUN if holds else SKIPPED, []))

    def using_step(self, step: ir.UsingStep, place: Place) -> None:
        place = place.at(self.verdict((), step.after, place))
        setup = self.block(step.setup, place, "json", step.value_id)
        place.env[step.value_id] = setup
        inside = place.at(verdict("ok", [setup.state]))
        self.steps(step.body.steps, inside)
        if step.body.result is not None:
            place.env[step.id] = self.node(step.body.result, inside, step.type, step.id)
        self.steps(step.cleanup.steps, place.at(verdict("ok", [setup.state]), []))

    def join_step(self, step: ir.JoinStep, place: Place) -> None:
        """In written order: a run may find other members to be the first."""
        members = [place.env[member] for member in step.members]
        parts = [found for part in step.parts for id in part for found in place.scope.parts.get(id, ())]
        inside = [found for found in place.frame if found.id in step.members or found in parts]
        by_time = sorted(range(len(members)), key=lambda i: members[i].is_late)
        winners = [i for i in by_time if members[i].state == SUCCESS][: step.n]
        good: Any = [members[i].value for i in winners]
        state = self.verdict((), step.after, place)
        if state != RUN:
            outcome = Outcome(state)
        elif len(good) == step.n:
            if step.names:
                good = {name: members[i].value if i in winners else None for i, name in enumerate(step.names)}
            outcome = Outcome(SUCCESS, good[0] if step.first and not step.names else good)
            for found in inside:
                found.is_handled = True
            if step.cancel_rest:
                inside_names = (place.scope.names_of.get(id, ()) for part in step.parts for id in part)
                place.scope.open.append(Open(frozenset(chain.from_iterable(inside_names)), (), None))
        elif members and all(member.state == SKIPPED for member in members):
            outcome = Outcome(SKIPPED)
        else:
            outcome = Outcome(FAILED, error=Error("JoinError", f"{step.n} of {len(members)} must succeed"))
        ended = self.record(step.name, step.id, outcome, place)
        ended.cause = next((found for found in inside if is_failure(found)), None)

    # ---- loops ------------------------------------------------------------------------------------------------------

    def each_step(self, step: ir.EachStep, place: Place) -> None:
        parts = [self.node(expr, place, "json", step.id).state for expr in computed_parts(step.source)]
        outside = [expr for expr in outer_references(step) if expr[1] in place.env]
        state = self.verdict((step.source, *outside), step.after, place)
        state = worst([state, verdict("ok", parts)]) if place.guard == RUN else state
        outcome = self.items(step, place) if state == RUN else Outcome(state)
        self.record(step.name, step.id, outcome, place)

    def items(self, step: ir.EachStep, place: Place) -> Outcome:
        try:
            source = pairs(self.value(step.source, place.env))
        except ExpressionError as error:
            return Outcome(FAILED, error=Error("ExpressionError", str(error)))
        if step.max is not None and len(source) > step.max:
            return Outcome(FAILED, error=Error("TooManyItems", f"there are {len(source)} items"))
        found: list[Any] = []
        states: list[str] = []
        for index, item in enumerate(source):
            outcome, failed = self.item(step, item, index, place)
            states.append(outcome.state)
            if outcome.state == SUCCESS:
                found.append(outcome.value)
            elif failed is not None:
                assert outcome.error is not None
                if step.on_error == "fail":
                    names = frozenset(names_in(step.body, merges=True))
                    place.scope.open.append(Open(names, (), index))
                    error = Error(outcome.error.type, f"item {index}: {outcome.error.message}")
                    return Outcome(FAILED, error=error, items=tuple(states), failed_item=index)
                if step.on_error == "collect":
                    found.append({**failure_record(failed, None), "index": index})
        value = None if step.body.result is None else typed(found, step.type)
        return Outcome(SUCCESS, value, items=tuple(states))

    def item(self, step: ir.EachStep, item: Any, index: int, place: Place) -> tuple[Outcome, Ended | None]:
        env = dict(place.env)
        parts = item if step.unpack else [item]
        if step.unpack and (not isinstance(item, list) or len(item) != len(step.items)):
            broken = Outcome(FAILED, error=Error("ExpressionError", "an item cannot be taken apart"))
            return broken, Ended(step.name, None, broken, blame=step.name)
        for id, part, kind in zip(step.items, parts, step.item_types, strict=True):
            env[id] = Outcome(SUCCESS, typed(part, kind))
        inner = Scope(place.scope.names, uses_in(step.body), index)
        ended = self.body(step.body, Place(env, inner, []), "json")
        place.scope.take(inner, index)
        return ended

    def repeat_step(self, step: ir.RepeatStep, place: Place) -> None:
        outside = [expr for expr in outer_references(step) if expr[1] in place.env]
        state = self.verdict(outside, step.after, place)
        last = Scope(place.scope.names, ())
        outcome, last = self.rounds(step, place) if state == RUN else (Outcome(state), last)
        self.record(step.name, step.id, outcome, place)
        place.scope.rows += last.rows
        place.scope.open += last.open

    def rounds(self, step: ir.RepeatStep, place: Place) -> tuple[Outcome, Scope]:
        """How the loop ends, and its last round."""
        previous: Any = None
        for number in range(1, step.max + 1):
            env = {**place.env, step.previous_id: Outcome(SUCCESS, previous)}
            inner = Scope(place.scope.names, uses_in(step.body))
            outcome, failed = self.body(step.body, Place(env, inner, []), step.type)
            place.scope.done += inner.done
            if failed is not None:
                return Outcome(FAILED, error=outcome.error, attempts=number), inner
            if outcome.state == SKIPPED and not step.type.endswith("?"):
                return Outcome(SKIPPED, attempts=number), inner
            previous = outcome.value
            env[step.previous_id] = Outcome(SUCCESS, previous)
            try:
                if self.value(step.until, env) is True:
                    return Outcome(SUCCESS, previous, attempts=number), inner
            except ExpressionError as error:
                return Outcome(FAILED, error=Error("ExpressionError", str(error)), attempts=number), inner
        late = Error("TooManyRounds", f"`until` was not true after {step.max} rounds")
        return Outcome(FAILED, error=late, attempts=step.max), inner


#: nothing failed, and yet there is no value: what gives it was not run, because of failures that are handled
NOBODY = Ended("", None, Outcome(FAILED, error=Error("Failed", "the value was never made")))


# ---- helpers --------------------------------------------------------------------------------------------------------


def call(function: Callable[..., object], args: dict[str, Any], attempt: int) -> object:
    for name, param in inspect.signature(function, eval_str=True).parameters.items():
        if param.annotation is Context:
            args = {**args, name: _context(attempt)}
    return function(**args)


def _context(attempt: int) -> Context:
    return Context(
        run="reference", flow="", step="", index=None, attempt=attempt, attempt_id=str(attempt), connections={}
    )


def may_retry(retry: ir.Retry | None, attempt: int, outcome: Outcome) -> bool:
    if retry is None or attempt > retry.max or outcome.error is None:
        return False
    kind = outcome.error.type
    return (not retry.only or kind in retry.only) and kind not in retry.never


def is_failure(ended: Ended) -> bool:
    return ended.outcome.state == FAILED and not ended.is_copy and not ended.is_handled


def blocked_by(state: str) -> str:
    """What becomes of the arms of a branch that did not succeed."""
    return SKIPPED if state == SKIPPED else UPSTREAM_FAILED


def copied(outcome: Outcome) -> Outcome:
    """The outcome as a merge shows it: without attempts of its own."""
    return Outcome(outcome.state, outcome.value, outcome.error)


def failure_record(ended: Ended, index: int | None) -> dict[str, Any]:
    """What a handler sees of a step that failed."""
    while ended.cause is not None:
        ended = ended.cause
    error = ended.outcome.error
    assert error is not None
    item = ended.outcome.failed_item
    return {
        "step": ended.blame,
        "index": index if item is None else item,
        "type": error.type,
        "message": error.message,
        "attempts": ended.outcome.attempts or 1,
    }


def typed(value: Any, type: str) -> Any:
    """The value as it is after it went over the wire as this type."""
    kind: Type = parse(type)
    try:
        return values.decode(values.encode(value), kind if kind == JSON else Optional(kind), _no_blobs)
    except values.TypeMismatch as error:
        raise AssertionError(f"the checker let a wrong value pass: {error}") from error


def _no_blobs(digest: str) -> bytes:
    raise AssertionError(f"nothing is stored here: {digest}")


def plugged(expr: Any, env: Mapping[int, Outcome]) -> Any:
    """The expression with its references read from the arguments, which hold every value by its id."""
    if isinstance(expr, list):
        if len(expr) == 2 and expr[0] in ("ref", "opt") and isinstance(expr[1], int):
            return ["arg", str(expr[1])]
        return [plugged(part, env) for part in expr]
    return expr
