"""Calls that start a run of their own (`detached: true`): submitted once, and not waited for.

The run's id follows from the attempt that submits it, and is that of an idempotency key, so that it is remembered as
long as those are: however often the submission is sent again, it is one run. Its plan is the child's, with the
children that it needs; the same bytes from whichever flow it is called.
"""

from __future__ import annotations

import msgspec
from flowc.plan import ChildNode, Plan, StepSettings, digest, encode

from flowrun import values
from flowrun.messages import Submit
from flowrun.partitions import partition_of
from flowrun.run_ids import run_id_of_key

from . import tasks
from .commands import PutBlob, Send
from .core import Core
from .flow_keys import flow_key
from .graph import Tables, settings_of
from .state import Scope, number_of

__all__ = ["standalone", "submit"]

#: of a call that sets none
_PLAIN_PRIORITY = StepSettings().priority


def submit(core: Core, scope: Scope, node: int, child: ChildNode, args: bytes) -> None:
    """Sends the submission; the call succeeds with the run's id."""
    run, settings = scope.run, settings_of(scope.graph.plan, child)
    tables = scope.graph.tables
    plan, data = _packed(tables, child.flow)
    key = f"detached/{run.id}/{scope.id}/{node}/{number_of(scope, node)}"
    called = tables.flow(child.flow)
    own_key = flow_key(called, args)
    name = run_id_of_key(called.flow, own_key or key)
    priority = run.priority if settings.priority == _PLAIN_PRIORITY else settings.priority
    event = Submit(name, plan, args, f"run {run.id}", priority=priority, key=own_key or key, depth=run.depth + 1)
    partition = partition_of(name, core.partitions) if core.partitions > 1 else core.partition
    core.commands += (PutBlob(plan, data), Send(partition, event, key))
    tasks.succeed(core, scope, node, values.encode(name))


def _packed(tables: Tables, flow: str) -> tuple[str, bytes]:
    """The content hash and the bytes of a child flow's plan."""
    found = tables.standalone.get(flow)
    if found is None:
        data = encode(standalone(tables.plan, flow))
        found = tables.standalone[flow] = (digest(data), data)
    return found


def standalone(plan: Plan, flow: str) -> Plan:
    """A child flow of a plan as a plan of its own: with the children that it calls, directly or not."""
    needed: dict[str, Plan] = {}
    waiting = _called(plan.children[flow])
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed[key] = plan.children[key]
            waiting += _called(needed[key])
    return msgspec.structs.replace(plan.children[flow], children=dict(sorted(needed.items())))


def _called(plan: Plan) -> list[str]:
    return [node.flow for block in plan.blocks for node in block.nodes if isinstance(node, ChildNode)]
