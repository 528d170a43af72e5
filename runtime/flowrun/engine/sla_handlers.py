"""`on sla_miss`: scopes beside the graph, one per handler and warning or miss, as those of `on retry` are.

A step's own handlers run; of a step that has none, and of a run or a child run, those of the nearest flow around it
that has any. Steps around that have not ended are null in them. The flow waits for them as for its steps, and they
never change how it ends. They run also while the run is paused, and a join, a time limit or a failure that ends what
missed its level does not end them: only a cancellation of the run does.

A run that has not begun has no scope that they could stand beside. Their scopes are EARLY then, roots of their own,
over its parameters; all other values are null. When the run begins, they become scopes beside its body; if it ends
without having begun, other than by a cancellation, it ends when they have.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from flowc.plan import ChildNode, HandlerDef, TaskNode

from flowrun import values

from . import again
from .core import CANCEL, Core
from .evaluate import ExpressionError
from .flows import ArgumentError, moment, parameters
from .graph import Graph
from .levels import Level
from .pauses import is_sla_handler
from .record import join_rows
from .scopes import Given, close_scope, open_scope
from .state import ASIDE, CANCELLED, EARLY, FLOW, MISSED, NULL, SUCCESS, Run, Scope, entered

__all__ = ["adopt", "cancel_handlers", "early_closed", "open_handlers"]

_EVENT = "sla_miss"


def open_handlers(core: Core, run: Run, level: Level, *, warning: bool) -> None:
    """A level was missed, or is in danger (`warning`): opens what is to run then."""
    record = _record(core, run, level, warning)
    if run.body is None:
        _open_early(core, run, record)
    elif level.scope < 0:
        _open_of_flow(core, run.body, record)
    elif (scope := run.scopes.get(level.scope)) is not None and not _open_of_step(core, scope, level, record):
        _open_of_flow(core, scope, record)


def _record(core: Core, run: Run, level: Level, warning: bool) -> bytes:
    """What a handler is given (types.SLA_MISS)."""
    return values.encode(
        {
            "flow": run.flow,
            "run": run.id,
            "step": level.step,
            "what": level.what,
            "due": moment(level.due_ms),
            "by": dt.timedelta(milliseconds=core.now - level.due_ms),
            "warning": warning,
        }
    )


def _open_of_step(core: Core, scope: Scope, level: Level, record: bytes) -> bool:
    """False: it is no step, or has none of its own."""
    if level.node < 0:
        return False
    node, graph = level.node, scope.graph
    inside: Scope | None = scope
    if level.block >= 0:
        graph = graph.tables.graph(level.child, level.block)
        node, inside = level.inner, _item(scope, level)
    found = graph.nodes[node]
    if not isinstance(found, TaskNode | ChildNode) or not found.on_sla_miss:
        return False
    for number, attached in enumerate(found.on_sla_miss):
        if inside is not None:
            given = [record, *_captured(inside, attached.captures)]
            _open_beside(core, inside, node, MISSED + number, inside.graph.beside(attached.block), given)
        else:
            given = [record, *(NULL for _ in attached.captures)]
            _open_beside(core, scope, level.node, MISSED + number, graph.beside(attached.block), given)
    return True


def _item(around: Scope, level: Level) -> Scope | None:
    """Of a step inside of an `each`: where it stands in the first item in which it has not ended."""
    for scope in around.run.scopes.values():
        of_step = scope.graph.block == level.block and scope.graph.flow == level.child
        if of_step and scope.states[level.inner] < SUCCESS and _is_inside(scope, level):
            return scope
    return None


def _is_inside(scope: Scope, level: Level) -> bool:
    """The scope belongs to the node of the level."""
    while scope.parent >= 0:
        if (scope.parent, scope.node) == (level.scope, level.node):
            return True
        scope = scope.run.scopes[scope.parent]
    return False


def _open_of_flow(core: Core, scope: Scope, record: bytes) -> None:
    """Those of the nearest flow around that has any, and whose steps have not all ended."""
    while not _tells(scope):
        if scope.parent < 0:
            return
        scope = scope.run.scopes[scope.parent]
    for number, handler in _handlers(scope.graph.plan.handlers):
        given = [record, *_captured(scope, handler.captures)]
        _open_beside(core, scope, -1, number, scope.graph.beside(handler.block), given)


def _tells(scope: Scope) -> bool:
    """The scope is the body of a flow with handlers, whose end was not decided."""
    is_over = scope.flow is not None and scope.flow.outcome is not None
    return scope.kind == FLOW and not is_over and any(one.event == _EVENT for one in scope.graph.plan.handlers)


def _handlers(handlers: tuple[HandlerDef, ...]) -> Iterator[tuple[int, HandlerDef]]:
    return ((number, handler) for number, handler in enumerate(handlers) if handler.event == _EVENT)


def _captured(scope: Scope, captures: tuple[int, ...]) -> list[Given]:
    return [(scope.values[i] if scope.states[i] == SUCCESS else None) or NULL for i in captures]


def _open_beside(core: Core, scope: Scope, node: int, number: int, graph: Graph, given: list[Given]) -> None:
    opened = open_scope(
        core, scope.run, graph, ASIDE, given, parent=scope.id, node=node, index=number, label=scope.label
    )
    scope.asides = entered(scope.asides, opened.id, node)
    scope.open += 1


def cancel_handlers(core: Core, run: Run) -> None:
    """Somebody cancels the run: those that run end, too."""
    for scope in run.scopes.values():
        if is_sla_handler(scope):
            core.agenda.append((CANCEL, scope, -1, CANCELLED))


# ---- runs that have not begun ---------------------------------------------------------------------------------------


def _open_early(core: Core, run: Run, record: bytes) -> None:
    assert run.tables is not None, "a run without a plan has no levels"
    handlers = list(_handlers(run.tables.plan.handlers))
    if not handlers:
        return
    body, known = run.graph("", 0), _parameters(core, run)
    for number, handler in handlers:
        given: list[Given] = [record, *(known[i] if i < len(known) else NULL for i in handler.captures)]
        open_scope(core, run, body.beside(handler.block), EARLY, given, index=number, label="")


def _parameters(core: Core, run: Run) -> list[bytes]:
    """As they are now; none of a run that cannot begin."""
    variables = run.variables
    try:
        return parameters(core, run, run.graph("", 0), run.args) if run.again is None else again.parameters(core, run)
    except (again.AgainError, ArgumentError, ExpressionError):
        return []  # it will say so
    finally:
        run.variables = variables  # it reads them when it begins


def early_closed(run: Run, scope: Scope, rows: bytes) -> bool:
    """A handler of a run that has not begun is done. True: it was the last, and the run waits for it to end."""
    close_scope(scope)
    if rows and run.levels is not None:
        run.levels.rows[scope.index] = join_rows(run.levels.rows.get(scope.index, b""), rows)
    return run.ending is not None and not run.scopes


def adopt(run: Run, body: Scope) -> None:
    """The run has begun: its handlers belong to its body."""
    assert run.levels is not None
    for number, rows in run.levels.rows.items():
        body.rows = entered(body.rows, -1 - number, rows)
    run.levels.rows = {}
    for scope in run.scopes.values():
        if scope.kind == EARLY:
            scope.kind, scope.parent = ASIDE, body.id
            body.asides = entered(body.asides, scope.id, -1)
            body.open += 1
