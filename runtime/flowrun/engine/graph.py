"""The static tables of a plan: computed once per plan, so that a transition costs what the node has consumers.

Every condition of a node becomes a *gate* with a rule (see `rules`): its data edges (`ok`), each `after`, what an
outcome watches (`done`), the members of a join (`join`). `edges[n]` says which gates count the end of node n. A
tear-down rule becomes two gates: `done` over everything, `setups` over the set-ups. Guards and merges depend on a
value, not on counts, and have tables of their own.

Tables are derived from the plan and hold no state.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from flowc.plan import (
    BranchNode,
    ChildNode,
    EachNode,
    Expr,
    JoinNode,
    MergeNode,
    Node,
    OutcomeNode,
    ParamNode,
    Plan,
    PlanBlock,
    StepSettings,
    TaskNode,
    Trigger,
    ValueNode,
    WaitNode,
)
from flowc.types import Type

from flowrun.names import lane

from .links import links
from .opening import closed, opened
from .rules import PATIENT, RULES, Rule

__all__ = ["Edge", "Graph", "Tables", "settings_of"]

#: how a gate counts an end: as it is; as a data edge (one removed by a join removes the consumer); as an optional
#: data edge (skipped counts as success)
PLAIN, DATA, OPTIONAL = 0, 1, 2
#: (gate, PLAIN | DATA | OPTIONAL)
Edge = tuple[int, int]
#: only these rules look at the items of an `each`
_BY_ITEM = frozenset({"any_ok", "any_failed", "any_done", "at_least"})


class Graph:
    """One block."""

    def __init__(self, plan: Plan, flow: str, index: int, tables: Tables | None = None) -> None:
        block: PlanBlock = plan.blocks[index]
        self.plan = plan
        #: those that it belongs to
        self.tables = tables or Tables("", plan)
        #: key in Plan.children of the outermost plan; "" for itself
        self.flow = flow
        self.block = index
        self.nodes: tuple[Node, ...] = block.nodes
        self.size = len(block.nodes)
        self.params = block.params
        self.result = block.result
        self.gate_node: list[int] = []
        self.gate_rule: list[Rule] = []
        self.gate_n: list[int] = []
        self.gate_total: list[int] = []
        #: node -> gates that count its end
        self.edges: list[list[Edge]] = [[] for _ in block.nodes]
        #: EachNode -> gates that count the ends of its items instead of its own
        self.item_gates: list[list[int]] = [[] for _ in block.nodes]
        #: branch or outcome -> (node in an arm of it, arm)
        self.arms: list[list[tuple[int, int]]] = [[] for _ in block.nodes]
        #: node -> merges to look at again
        self.merges: list[list[int]] = [[] for _ in block.nodes]
        #: node -> those that begin only while it has not ended
        self.until: list[list[int]] = [[] for _ in block.nodes]
        #: node -> joins whose member it is
        self.joins: list[list[int]] = [[] for _ in block.nodes]
        #: node -> how many conditions it waits for, its guard not counted
        self.pending: list[int] = [0] * self.size
        #: join or merge -> the gate that opens when its outcome is known
        self.own_gate: dict[int, int] = {}
        for i, node in enumerate(block.nodes):
            self._add(i, node)
        self.teardowns = _teardowns(block)
        #: node -> its settings; the defaults for one that has none of its own
        self.settings = [settings_of(plan, node) for node in block.nodes]
        #: node -> where workers pull its work from
        self.lanes = [lane(settings.queue, settings.executor) for settings in self.settings]
        #: node -> the nodes that give its inputs
        self.inputs = [tuple(given.node for given in node.inputs) for node in block.nodes]
        #: node -> it is a task that needs nothing but a worker
        self.plain = bytearray(_is_plain(node, self.settings[i]) for i, node in enumerate(block.nodes))
        #: node -> somebody waits for its end; and nobody but by `edges`
        self.awaited = bytearray(map(self._is_awaited, range(self.size)))
        self.edges_only = bytearray(
            not (self.joins[i] or self.item_gates[i] or self.arms[i] or self.merges[i] or self.until[i])
            for i in range(self.size)
        )
        #: gate -> one more success does not decide it while others are open
        self.patient = [rule in PATIENT for rule in self.gate_rule]
        #: how a scope begins: one of whose parameters some were skipped, and one whose parameters all have values
        self.closed = closed(self)
        self.opened = opened(self, self.closed)
        #: something takes back what some of its calls did
        self.is_undone = any(isinstance(node, TaskNode) and node.undo is not None for node in block.nodes)
        #: steps that update datasets -> which
        self.updates = {i: names for i, node in enumerate(block.nodes) if (names := _updates(plan, node))}
        #: steps in written order: (node, name)
        self.steps = [(i, node.name) for i, node in enumerate(block.nodes) if node.name and i >= block.params]
        #: of a flow's body: its parameters, in order
        self.param_names = {param.name: None for param in plan.params}
        #: of a flow's body: somebody reads `run`, its first parameter
        self.reads_run = index == 0 and _reads_run(plan)
        #: node -> the task that may follow it at its worker; -1: none
        self.next = self._links()
        #: of a flow's body: the task that is all of the flow (see `single`); -1: there is more to it
        self.lone = self._lone()

    def _add(self, i: int, node: Node) -> None:
        if isinstance(node, ParamNode):
            return
        if node.guard is not None:
            self.arms[node.guard[0]].append((i, node.guard[1]))
        if node.inputs:
            gate = self._gate(i, "ok", len(node.inputs))
            for given in node.inputs:
                self.edges[given.node].append((gate, OPTIONAL if given.optional else DATA))
        for trigger in node.after:
            self._add_trigger(i, trigger)
        if isinstance(node, OutcomeNode):
            self._watch(i, "done", node.watched)
        elif isinstance(node, JoinNode):
            self.own_gate[i] = self._watch(i, "join", node.members, node.n)
            for member in node.members:
                self.joins[member].append(i)
        elif isinstance(node, MergeNode):
            self.own_gate[i] = self._gate(i, "done", 1)
            for source in dict.fromkeys((node.branch, *node.sources, node.otherwise)):
                if source is not None:
                    self.merges[source].append(i)

    def _add_trigger(self, i: int, trigger: Trigger) -> None:
        if trigger.rule == "always":
            return
        if trigger.rule == "not_yet":
            for upstream in trigger.nodes:
                self.until[upstream].append(i)
            return
        if trigger.rule == "teardown":
            self._watch(i, "done", trigger.nodes)
            self._watch(i, "setups", trigger.setups)
        else:
            self._watch(i, trigger.rule, trigger.nodes, trigger.n)

    def _is_awaited(self, i: int) -> bool:
        tables = (self.edges, self.joins, self.item_gates, self.arms, self.merges, self.until)
        return any(table[i] for table in tables)

    def _links(self) -> list[int]:
        upstreams: list[set[int]] = [set() for _ in self.gate_node]
        for i, edges in enumerate(self.edges):
            for gate, _ in edges:
                upstreams[gate].add(i)
        waiting = [
            [gate for gate, _ in self.edges[i]] if not (self.joins[i] or self.merges[i]) else [-1]
            for i in range(self.size)
        ]
        return links(self.nodes, self.settings, self.lanes, waiting, upstreams, self.gate_node, self.patient)

    def _lone(self) -> int:
        plan, node = self.plan, self.params
        of_flow = (plan.timeout_ms, plan.concurrency, plan.max_active_runs, plan.debounce, plan.keep_ms, plan.sla)
        is_all = self.block == 0 and self.size == node + 1 and self.opened.start == (node,) and self.result == node
        has_more = self.opened.propagate or self.reads_run or plan.handlers or plan.vars or self.updates
        if not is_all or not self.plain[node] or has_more:
            return -1
        return node if not any(one is not None for one in of_flow) and all(i < node for i in self.inputs[node]) else -1

    def _watch(self, i: int, rule: str, nodes: tuple[int, ...], n: int = 0) -> int:
        gate = self._gate(i, rule, len(nodes), n)
        for upstream in nodes:
            if rule in _BY_ITEM and isinstance(self.nodes[upstream], EachNode):
                self.item_gates[upstream].append(gate)
            else:
                self.edges[upstream].append((gate, PLAIN))
        return gate

    def _gate(self, i: int, rule: str, total: int, n: int = 0) -> int:
        """A new gate. One without upstreams is open from the start, and nobody counts for it."""
        self.gate_node.append(i)
        self.gate_rule.append(RULES[rule])
        self.gate_n.append(n)
        self.gate_total.append(total)
        self.pending[i] += total > 0
        return len(self.gate_node) - 1

    @cached_property
    def listed(self) -> frozenset[int]:
        """The members of groups: nodes of whose values, and nothing else, a list is made."""
        lists = (node for node in self.nodes if isinstance(node, ValueNode) and node.value[0] == "list")
        return frozenset(
            node.inputs[part[1]].node
            for node in lists
            if all(part[0] == "in" for part in node.value[1:])
            for part in node.value[1:]
        )

    @cached_property
    def join_parts(self) -> dict[int, list[int]]:
        """Join -> its members, and the steps inside them: those whose failure comes to it."""
        found = {i: set(node.members) for i, node in enumerate(self.nodes) if isinstance(node, JoinNode)}
        for i, node in enumerate(self.nodes):
            handler = node.handler
            while handler >= 0:
                if handler in found:
                    found[handler].add(i)
                handler = self.nodes[handler].handler
        return {join: sorted(parts) for join, parts in found.items()}

    def beside(self, block: int) -> Graph:
        """Another block of the same flow."""
        return self.tables.graph(self.flow, block)

    def step_name(self, i: int) -> str:
        """The step that the user knows a node by: its own name, or for a part without one (a condition, the source of
        an `each`) the first step in written order that uses it, directly or through other parts; else the construct
        that it is written in; "" if there is none."""
        found = self.nodes[i]
        if found.name:
            return found.name
        users = {i}
        for j in range(i + 1, self.size):
            if users.isdisjoint(_used(self.nodes[j])):
                continue
            if self.nodes[j].name:
                return self.nodes[j].name
            users.add(j)
        if self.result in users:
            return "return"
        return "if" if isinstance(found, BranchNode) else found.box[-1] if found.box else ""


def _used(node: Node) -> Iterator[int]:
    """The nodes whose value a node is made of, or whose arm it stands in."""
    yield from (given.node for given in node.inputs)
    if node.guard is not None:
        yield node.guard[0]
    if isinstance(node, JoinNode):
        yield from node.members
    elif isinstance(node, MergeNode):
        yield node.branch
        yield from (source for source in (*node.sources, node.otherwise) if source is not None)


def _is_plain(node: Node, settings: StepSettings) -> bool:
    times = (settings.delay_ms, settings.at_ms, settings.expires_ms, settings.deadline_ms)
    permits = (settings.pool, settings.limit, settings.concurrency)
    return isinstance(node, TaskNode) and all(setting is None for setting in (*times, *permits, settings.sla))


def _reads_run(plan: Plan) -> bool:
    """Something needs the value of `run`, the first parameter of the flow."""
    exprs = [param.default for param in plan.params]
    exprs.append(plan.concurrency.key if plan.concurrency else None)
    body = plan.blocks[0]
    return (
        any(0 in _used(node) or (isinstance(node, OutcomeNode) and 0 in node.watched) for node in body.nodes)
        or any(0 in handler.captures for handler in plan.handlers)
        or body.result == 0
        or any(expr is not None and _holds_run(expr) for expr in exprs)
    )


def _holds_run(expr: Expr) -> bool:
    return expr[:2] == ["in", 0] or any(isinstance(part, list | tuple) and _holds_run(list(part)) for part in expr)


def _teardowns(block: PlanBlock) -> frozenset[int]:
    """The nodes that still run when the scope is cancelled: those with a tear-down rule, those that watch for just
    that, and what belongs to them."""
    found: set[int] = set()
    for i, node in enumerate(block.nodes):
        watches = isinstance(node, OutcomeNode) and node.event == "cancel"
        if watches or any(trigger.rule == "teardown" for trigger in node.after):
            found.add(i)
        elif node.handler == -2 or not node.name:
            upstreams = {given.node for given in node.inputs}
            if node.guard is not None:
                upstreams.add(node.guard[0])
            if upstreams & found:
                found.add(i)
    return frozenset(found)


def settings_of(plan: Plan, node: Node) -> StepSettings:
    """The settings of a node; the defaults for one that has none of its own. An `each` whose items are calls of one
    task waits for them: for its delay."""
    if isinstance(node, TaskNode | ChildNode | WaitNode):
        return plan.settings[node.settings]
    if isinstance(node, EachNode) and node.simple:
        task = plan.blocks[node.body].nodes[plan.blocks[node.body].params]
        assert isinstance(task, TaskNode)
        own = plan.settings[task.settings]
        return StepSettings(delay_ms=own.delay_ms, at_ms=own.at_ms)
    return StepSettings()


def _updates(plan: Plan, node: Node) -> tuple[str, ...]:
    """The datasets that a success of the node updates; of an `each` those of its items, which it updates as a whole."""
    if isinstance(node, TaskNode | ChildNode | WaitNode):
        return plan.settings[node.settings].updates
    if isinstance(node, EachNode):
        return tuple(dict.fromkeys(name for part in plan.blocks[node.body].nodes for name in _updates(plan, part)))
    return ()


class Tables:
    """The graphs of a plan and of its child flows, built when they are first used."""

    def __init__(self, digest: str, plan: Plan) -> None:
        self.digest = digest
        self.plan = plan
        #: those that were used
        self.graphs: dict[tuple[str, int], Graph] = {}
        #: what signals may come for its runs, by name; None: it was not asked yet
        self.signals: dict[str, Type] | None = None
        #: names of variables that the plan and its child flows read
        self.variables = frozenset(one.name for part in (plan, *plan.children.values()) for one in part.vars)
        #: child flows as plans of their own, with their content hash; those that were used
        self.standalone: dict[str, tuple[str, bytes]] = {}

    def flow(self, key: str) -> Plan:
        """The plan of a child flow; the plan itself for ""."""
        return self.plan.children[key] if key else self.plan

    def graph(self, flow: str, block: int) -> Graph:
        graph = self.graphs.get((flow, block))
        if graph is None:
            graph = self.graphs[flow, block] = Graph(self.flow(flow), flow, block, self)
        return graph

    def body_of_run(self) -> Graph:
        """What a run of the plan begins with."""
        return self.graphs.get(("", 0)) or self.graph("", 0)

    def body(self, graph: Graph, node: EachNode) -> TaskNode:
        """The one task of a simple `each`."""
        block = graph.plan.blocks[node.body]
        task = block.nodes[block.params]
        assert isinstance(task, TaskNode)
        return task
