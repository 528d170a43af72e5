"""The start of an `each`: how many items there are, and whether it runs them as ranges or as scopes.

The length follows from the bytes of the source, which may be references. Where only the content of a blob tells it
(a list within a list that was stored), a worker evaluates the source first, and its value stands for it.
"""

from __future__ import annotations

from flowrun import wire
from flowrun.sequences import Source, of_bytes

from . import items, ranges
from .core import Core, fail, finish, inputs_of, note
from .evaluate import ExpressionError
from .fan import each_node
from .scopes import expand_items
from .state import GRANTED, NULL, RUNNING, SUCCESS, Fan, Scope, entered
from .tasks import dispatch

__all__ = ["is_simple", "pump", "start", "start_evaluated"]


def start(core: Core, scope: Scope, node: int) -> None:
    each = each_node(scope, node)
    try:
        source = of_bytes(each.source, inputs_of(scope, node))
        if source is not None:
            _start(core, scope, node, source)
            return
    except (ExpressionError, wire.WireError) as error:
        fail(core, scope, node, "ExpressionError", str(error))
        return
    scope.states[node] = GRANTED
    dispatch(core, scope, node)


def start_evaluated(core: Core, scope: Scope, node: int) -> None:
    """A worker evaluated the source."""
    value = scope.values[node] or NULL
    try:
        source = of_bytes(["in", 0], [value])
    except (ExpressionError, wire.WireError) as error:
        fail(core, scope, node, "ExpressionError", str(error))
        return
    if source is None:
        fail(core, scope, node, "ExpressionError", "`each` needs a list or a map")
        return
    _start(core, scope, node, source)


def _start(core: Core, scope: Scope, node: int, source: Source[bytes]) -> None:
    each, total = each_node(scope, node), len(source)
    if each.max is not None and total > each.max:
        message = f"there are {total:,} items, and `max` allows {each.max:,}: raise it, or pass fewer"
        fail(core, scope, node, "TooManyItems", message)
        return
    if not total:
        finish(core, scope, node, SUCCESS, b"\x90" if each.collects else NULL)
        return
    scope.states[node] = RUNNING
    scope.began = entered(scope.began, node, core.now)
    scope.fans = entered(scope.fans, node, Fan(total, bytearray(total), bytearray(4 * total)))
    expand_items(core, scope, node, total)
    if each.simple:
        ranges.arm_expiry(core, scope, node)
    note(core, scope, node)
    pump(core, scope, node)


def is_simple(scope: Scope, node: int) -> bool:
    """Its items are ranges of calls."""
    return each_node(scope, node).simple


def pump(core: Core, scope: Scope, node: int) -> None:
    """Starts as many items as may run now."""
    if each_node(scope, node).simple:
        ranges.pump(core, scope, node)
    else:
        items.pump(core, scope, node)
