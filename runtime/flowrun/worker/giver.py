"""Gets what work needs beside itself: secrets that its steps name, what the environment sets of its connections.

What a step needs is known from its plan. Most need nothing, and pay nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from flowc.plan import EachNode, Expr, Node, Plan, TaskNode

from flowrun.connections import ConnectionSettings
from flowrun.errors import FlowError
from flowrun.messages import Bundle
from flowrun.secrets import Resolver, SecretMissing

from .frames import Given
from .mask import process_mask

__all__ = ["Giver", "Needs"]

#: plans whose needs are known
_PLANS = 256


class Needs(NamedTuple):
    """Of a step: keys of secrets, and connections by name."""

    secrets: frozenset[str]
    connections: frozenset[str]


#: of a plan, by flow, block and node; what needs nothing is not there
_OfPlan = dict[tuple[str, int, int], Needs]


class Giver:
    """Of one agent."""

    def __init__(self, resolver: Resolver, settings: ConnectionSettings) -> None:
        self._resolver, self._settings = resolver, settings
        self._plans: OrderedDict[str, _OfPlan] = OrderedDict()

    def needs(self, bundle: Bundle, plans: Mapping[str, Plan]) -> Needs | None:
        """Of all its items; None: they need nothing. `plans`: at least those of the bundle."""
        found: set[Needs] = set()
        for number, digest in enumerate(bundle.plans):
            of_plan = self._of(digest, plans[digest])
            if not of_plan:
                continue
            for item in bundle.items:
                if item.plan == number:
                    places = [(item.flow, item.block, node) for node in (item.node, *(then.node for then in item.then))]
                    found.update(of_plan[place] for place in places if place in of_plan)
        if not found:
            return None
        return Needs(
            frozenset().union(*(one.secrets for one in found)), frozenset().union(*(one.connections for one in found))
        )

    def _of(self, digest: str, plan: Plan) -> _OfPlan:
        if digest not in self._plans:
            self._plans[digest] = dict(_needs_of(plan))
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(digest)
        return self._plans[digest]

    async def get(self, needs: Needs) -> Given:
        """Never raises: what cannot be had fails the tasks that ask for it."""
        fields: dict[str, dict[str, Expr]] = {}
        broken: dict[str, tuple[str, bool]] = {}
        keys = set(needs.secrets)
        for name in sorted(needs.connections):
            try:
                fields[name] = dict(await self._settings.get(name))
            except FlowError as error:
                broken[name] = (f"the connection `{name}` cannot be used: {error}", True)
            else:
                keys |= {value[1] for value in fields[name].values() if value[0] == "secret"}
        found, missing = await self._secrets(sorted(keys))
        process_mask().learn(found.values())
        return Given(found, missing, fields, broken)

    async def _secrets(self, keys: list[str]) -> tuple[dict[str, str], dict[str, tuple[str, bool]]]:
        ends = await asyncio.gather(*(self._resolver.get(key) for key in keys), return_exceptions=True)
        found: dict[str, str] = {}
        missing: dict[str, tuple[str, bool]] = {}
        for key, end in zip(keys, ends, strict=True):
            if isinstance(end, str):
                found[key] = end
            elif isinstance(end, FlowError):
                missing[key] = (str(end), not isinstance(end, SecretMissing))
            else:
                raise end
        return found, missing


def _needs_of(plan: Plan) -> Iterator[tuple[tuple[str, int, int], Needs]]:
    for flow, part in (("", plan), *plan.children.items()):
        if not any(task.uses for task in part.tasks) and not _names_secrets(part):
            continue
        for block, found in enumerate(part.blocks):
            for place, node in enumerate(found.nodes):
                needs = _needs_of_node(part, node)
                if any(needs):
                    yield (flow, block, place), needs


def _names_secrets(plan: Plan) -> bool:
    nodes = (node for block in plan.blocks for node in block.nodes if isinstance(node, TaskNode))
    return any(value[0] == "secret" for node in nodes for _, value in node.args)


def _needs_of_node(plan: Plan, node: Node) -> Needs:
    if isinstance(node, EachNode) and node.simple:
        node = next(one for one in plan.blocks[node.body].nodes if isinstance(one, TaskNode))
    if not isinstance(node, TaskNode):
        return Needs(frozenset(), frozenset())
    used = [plan.connections[i] for i in plan.tasks[node.task].uses]
    values = [value for _, value in node.args] + [value for one in used for _, value in one.fields]
    secrets = frozenset(value[1] for value in values if value[0] == "secret")
    return Needs(secrets, frozenset(one.name for one in used))
