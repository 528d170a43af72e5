"""`on retry`: scopes beside the graph, one per handler and failed attempt that another one follows.

The step goes on meanwhile; the scope in which it stands waits for them as for its nodes, and they never change how it
ends. Steps around that have not ended are null in them. Those of `on sla_miss` (`sla_handlers`) close here, too.
"""

from __future__ import annotations

from flowc.plan import ChildNode, TaskNode

from flowrun.messages import Failure

from .core import CLOSE, Core
from .fan import failure_record
from .pauses import is_sla_handler
from .record import join_rows
from .scopes import Given, index_of, open_scope
from .state import ASIDE, NULL, SUCCESS, Scope, aside_rows, entered

__all__ = ["closed", "open_asides"]


def open_asides(core: Core, scope: Scope, node: int, failure: Failure, attempts: int) -> None:
    """An attempt of a node failed (`attempts`: so many have, by now), and another one follows."""
    found = scope.graph.nodes[node]
    if not isinstance(found, TaskNode | ChildNode):
        return
    for number, attached in enumerate(found.on_retry):
        index = index_of(scope)
        item = index[-1] if isinstance(index, tuple) else index
        given: list[Given] = [failure_record(scope.graph.step_name(node), item, failure, attempts)]
        for i in attached.captures:
            given.append((scope.values[i] if scope.states[i] == SUCCESS else None) or NULL)
        graph = scope.graph.beside(attached.block)
        opened = open_scope(
            core, scope.run, graph, ASIDE, given, parent=scope.id, node=node, index=number, label=scope.label
        )
        scope.asides = entered(scope.asides, opened.id, node)
        scope.open += 1


def closed(core: Core, scope: Scope, aside: Scope, rows: bytes) -> None:
    """One has ended."""
    del scope.asides[aside.id]
    if rows:
        key = aside_rows(aside.node, aside.index) if aside.node >= 0 else -1 - aside.index  # of the flow's handler
        before = scope.rows.get(key, b"") if is_sla_handler(aside) else b""
        scope.rows = entered(scope.rows, key, join_rows(before, rows))
    scope.open -= 1
    if not scope.open:
        core.agenda.append((CLOSE, scope, 0, 0))
