"""Where data comes from and where it goes: which steps read and update which datasets, and which flows that starts.

A plan says of each step what it reads and updates; a manifest keeps that per flow. From the flows of one or more
projects follows the graph: step to dataset, dataset to step, and beside that what starts flows (an update of a dataset,
the end of another flow) and which flows call which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from flowc.plan import ChildNode, DatasetSource, FlowSource, Plan, TaskNode

from .manifest import DatasetUse, DeployedFlow
from .sources import leaves

__all__ = ["Dataset", "Flow", "Lineage", "Start", "Step", "datasets_of", "datasets_of_run", "lineage_of"]


class _Data(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a lineage."""


class Step(_Data, frozen=True, kw_only=True):
    """A step of a flow."""

    flow: str
    step: str


class Start(_Data, frozen=True, kw_only=True):
    """What starts a flow."""

    #: "flow.trigger"
    trigger: str
    #: the flow that it starts
    flow: str
    #: an update of this dataset; None: it is not that
    dataset: str | None = None
    #: the end of a run of this flow; None: it is not that
    after: str | None = None


class Dataset(_Data, frozen=True, kw_only=True):
    """Data that steps name."""

    name: str
    updated_by: tuple[Step, ...]
    read_by: tuple[Step, ...]
    starts: tuple[Start, ...]


class Flow(_Data, frozen=True, kw_only=True):
    """A flow, as far as it matters to data."""

    name: str
    #: where it is declared, relative to its project's root
    file: str
    uses: tuple[DatasetUse, ...]
    started_by: tuple[Start, ...]
    #: flows that it calls, and those that its end starts
    calls: tuple[str, ...]
    starts: tuple[Start, ...]


class Lineage(_Data, frozen=True, kw_only=True):
    """Of some flows; both by name."""

    datasets: tuple[Dataset, ...]
    flows: tuple[Flow, ...]

    def dataset(self, name: str) -> Dataset | None:
        return next((one for one in self.datasets if one.name == name), None)

    def flow(self, name: str) -> Flow | None:
        return next((one for one in self.flows if one.name == name), None)

    def used(self, flow: str, use: str) -> tuple[str, ...]:
        """Datasets that a flow's steps use so, each once."""
        found = self.flow(flow)
        return tuple(dict.fromkeys(one.dataset for one in found.uses if one.use == use)) if found else ()


def datasets_of(plan: Plan) -> tuple[DatasetUse, ...]:
    """What the steps of a flow read and update, in written order; not those of the flows that it calls."""
    found: dict[DatasetUse, None] = {}
    for block in plan.blocks:
        for node in block.nodes:
            if isinstance(node, TaskNode | ChildNode):
                settings = plan.settings[node.settings]
                for name in settings.reads:
                    found[DatasetUse(step=node.name, dataset=name, use="reads")] = None
                for name in settings.updates:
                    found[DatasetUse(step=node.name, dataset=name, use="updates")] = None
    return tuple(found)


def datasets_of_run(plan: Plan) -> tuple[DatasetUse, ...]:
    """The same with those of the flows that it calls, whose steps are named as the record of a run has them:
    "call.step"."""
    return tuple(_of_run(plan, plan, "", ()))


def _of_run(root: Plan, plan: Plan, prefix: str, above: tuple[str, ...]) -> Iterator[DatasetUse]:
    for use in datasets_of(plan):
        yield msgspec.structs.replace(use, step=prefix + use.step)
    for block in plan.blocks:
        for node in block.nodes:
            # a flow that calls itself is as deep as it likes: what it does there is what it does here
            if isinstance(node, ChildNode) and not node.detached and node.flow not in above:
                inside = f"{prefix}{node.name}." if node.name else prefix
                yield from _of_run(root, root.children[node.flow], inside, (*above, node.flow))


def lineage_of(flows: Iterable[DeployedFlow]) -> Lineage:
    """The lineage of flows with different names."""
    known = sorted(flows, key=lambda flow: flow.name)
    starts = [start for flow in known for start in _starts(flow)]
    names = {use.dataset for flow in known for use in flow.datasets} | {start.dataset for start in starts}
    return Lineage(
        datasets=tuple(_dataset(name, known, starts) for name in sorted(name for name in names if name is not None)),
        flows=tuple(
            Flow(
                name=flow.name, file=flow.file, uses=flow.datasets,
                started_by=tuple(start for start in starts if start.flow == flow.name), calls=flow.calls,
                starts=tuple(start for start in starts if start.after == flow.name),
            )
            for flow in known
        ),
    )  # fmt: skip


def _starts(flow: DeployedFlow) -> Iterator[Start]:
    """What starts a flow, of what other flows do."""
    for definition in flow.triggers:
        trigger = f"{flow.name}.{definition.name}"
        for source in leaves(definition.source):
            if isinstance(source, DatasetSource):
                yield Start(trigger=trigger, flow=flow.name, dataset=source.name)
            elif isinstance(source, FlowSource):
                yield Start(trigger=trigger, flow=flow.name, after=source.flow)


def _dataset(name: str, flows: Iterable[DeployedFlow], starts: Iterable[Start]) -> Dataset:
    users = {
        use: tuple(
            Step(flow=flow.name, step=one.step)
            for flow in flows
            for one in flow.datasets
            if (one.dataset, one.use) == (name, use)
        )
        for use in ("reads", "updates")
    }
    return Dataset(
        name=name, updated_by=users["updates"], read_by=users["reads"],
        starts=tuple(start for start in starts if start.dataset == name),
    )  # fmt: skip
