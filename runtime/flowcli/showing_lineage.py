"""What `flowc lineage` does: from a project's files, or what is deployed, to a tree, a graph or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import msgspec
from flowrun.deployments.building import build
from flowrun.deployments.reading import read_deployed
from flowrun.lineage import Dataset, Flow, Lineage, Start, lineage_of
from flowrun.manifest import DeployedFlow
from flowrun.transport import Transport
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from .errors import EXIT_OK, FindingsError, InputError
from .output import say
from .remote import with_transport
from .server import server_of
from .targets import find_root

__all__ = ["Form", "as_dot", "as_mermaid", "as_text", "show_lineage"]

Form = Literal["tree", "json", "dot", "mermaid"]


def show_lineage(name: str | None, deployed: bool, form: str, url: str | None, env: str | None) -> int:
    """Gives the exit code. Raises InputError, FlowError."""
    if not deployed:
        return _show(lineage_of(_compiled()), name, form)

    async def work(transport: Transport) -> int:
        found = await read_deployed(transport)
        return _show(lineage_of([flow for one in found.values() for flow in one.manifest.flows]), name, form)

    return with_transport(server_of(url, env, find_root(None)), work)


def _compiled() -> tuple[DeployedFlow, ...]:
    """The flows of the project in this folder."""
    from flowc.project import find_project  # what is deployed does not need the compiler

    from .building import compile_project, findings_of

    project = find_project(Path.cwd())
    compilation = compile_project(project)
    outcome = findings_of(compilation)
    if outcome.has_errors:
        raise FindingsError(outcome.text(), outcome.as_json())
    return build(project.name, [one.plan for one in compilation.plans]).manifest.flows


def _show(lineage: Lineage, name: str | None, form: str) -> int:
    if name is not None and lineage.dataset(name) is None and lineage.flow(name) is None:
        known = [one.name for one in lineage.datasets] + [one.name for one in lineage.flows]
        close = get_close_matches(name, known, 1)
        help = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known[:20]) or 'none'}"
        raise InputError(f"there is neither a dataset nor a flow `{name}`", help=help)
    if name is not None:
        lineage = _only(lineage, name) if form != "tree" else lineage
    if form == "json":
        say(msgspec.json.encode(lineage))
    elif form == "tree":
        say(as_text(lineage, name))
    else:
        say(as_dot(lineage) if form == "dot" else as_mermaid(lineage))
    return EXIT_OK


def _only(lineage: Lineage, name: str) -> Lineage:
    """What a dataset or a flow is directly connected with."""
    if lineage.flow(name) is not None:
        flows = {name}
    else:
        dataset = lineage.dataset(name)
        assert dataset is not None
        flows = {step.flow for step in (*dataset.updated_by, *dataset.read_by)} | {one.flow for one in dataset.starts}
    kept = tuple(flow for flow in lineage.flows if flow.name in flows)
    names = {use.dataset for flow in kept for use in flow.uses} | {
        start.dataset for flow in kept for start in flow.started_by
    }
    return Lineage(datasets=tuple(one for one in lineage.datasets if one.name in names), flows=kept)


# ---- a tree ---------------------------------------------------------------------------------------------------------


def as_text(lineage: Lineage, name: str | None = None) -> str:
    """Trees for a terminal: of all datasets, of one with all that it comes from and goes to, or of a flow."""
    if name is None:
        trees = [_dataset_tree(one) for one in lineage.datasets]
        if not trees:
            return 'no step reads or updates a dataset: name one, as `updates: dataset("s3://lake/sales")`'
    elif (flow := lineage.flow(name)) is not None:
        trees = [_flow_tree(flow)]
    else:
        trees = [_upstream(lineage, name, (), name), _downstream(lineage, name, (), name)]
    console = Console(width=None if sys.stdout.isatty() else 1_000)
    with console.capture() as captured:
        for tree in trees:
            console.print(tree)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _dataset_tree(dataset: Dataset) -> Tree:
    tree = Tree(Text(dataset.name, style="bold"))
    _leaves(tree, "updated by", (f"{step.flow}.{step.step}" for step in dataset.updated_by))
    _leaves(tree, "read by", (f"{step.flow}.{step.step}" for step in dataset.read_by))
    _leaves(tree, "starts", map(_started, dataset.starts))
    return tree


def _flow_tree(flow: Flow) -> Tree:
    tree = Tree(Text.assemble((flow.name, "bold"), f"  {flow.file}"))
    _leaves(tree, "started by", (f"{start.dataset or start.after} ({start.trigger})" for start in flow.started_by))
    steps: dict[str, Tree] = {}
    for use in flow.uses:
        if use.step not in steps:
            steps[use.step] = tree.add(Text(use.step))
        steps[use.step].add(Text.assemble((use.use, "dim"), " ", use.dataset))
    _leaves(tree, "calls", flow.calls)
    _leaves(tree, "starts", map(_started, flow.starts))
    return tree


def _upstream(lineage: Lineage, name: str, seen: tuple[str, ...], title: str) -> Tree:
    """A dataset, the steps that update it, and what their flows read."""
    tree = Tree(Text.assemble((title, "bold"), ("  comes from", "dim") if not seen else ""))
    dataset = lineage.dataset(name)
    for step in dataset.updated_by if dataset else ():
        branch = tree.add(Text(f"{step.flow}.{step.step}"))
        for read in lineage.used(step.flow, "reads"):
            branch.add(_again(read) if read in (name, *seen) else _upstream(lineage, read, (name, *seen), read))
    if not tree.children:
        tree.add(Text("nothing that is known here", style="dim"))
    return tree


def _downstream(lineage: Lineage, name: str, seen: tuple[str, ...], title: str) -> Tree:
    """A dataset, the steps that read it and the flows that it starts, and what these update."""
    tree = Tree(Text.assemble((title, "bold"), ("  goes to", "dim") if not seen else ""))
    dataset = lineage.dataset(name)
    flows = {step.flow: f"{step.flow}.{step.step}" for step in dataset.read_by} if dataset else {}
    for start in dataset.starts if dataset else ():
        flows.setdefault(start.flow, f"{start.flow} (started by {start.trigger})")
    for flow, told in flows.items():
        branch = tree.add(Text(told))
        for made in lineage.used(flow, "updates"):
            branch.add(_again(made) if made in (name, *seen) else _downstream(lineage, made, (name, *seen), made))
    if not tree.children:
        tree.add(Text("nothing that is known here", style="dim"))
    return tree


def _again(name: str) -> Text:
    return Text(f"{name} (see above)", style="dim")


def _leaves(tree: Tree, title: str, texts: Iterable[str]) -> None:
    for text in texts:
        tree.add(Text.assemble((title, "dim"), " ", text))


def _started(start: Start) -> str:
    return f"{start.flow} ({start.trigger})"


# ---- graphs ---------------------------------------------------------------------------------------------------------


def _edges(lineage: Lineage) -> Iterator[tuple[str, str, str]]:
    """(from, to, label): nodes are "d name" for a dataset, "f name" for a flow, "s flow.step" for a step."""
    for flow in lineage.flows:
        for use in flow.uses:
            step, dataset = f"s {flow.name}.{use.step}", f"d {use.dataset}"
            yield (dataset, step, "") if use.use == "reads" else (step, dataset, "")
        for start in flow.started_by:
            source = f"d {start.dataset}" if start.dataset is not None else f"f {start.after}"
            yield source, f"f {flow.name}", start.trigger
        for called in flow.calls:
            yield f"f {flow.name}", f"f {called}", "calls"


def as_dot(lineage: Lineage) -> str:
    """A graph for Graphviz: flows are boxes around their steps."""
    lines = ["digraph lineage {", "  rankdir=LR;", "  node [shape=box, style=rounded];"]
    for name in sorted({one.name for one in lineage.datasets}):
        lines.append(f"  {_quoted(f'd {name}')} [label={_quoted(name)}, shape=cylinder, style=solid];")
    for number, flow in enumerate(lineage.flows):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_quoted(flow.name)};"]
        lines.append(f"    {_quoted(f'f {flow.name}')} [label={_quoted(flow.name)}, shape=plaintext];")
        for step in dict.fromkeys(use.step for use in flow.uses):
            lines.append(f"    {_quoted(f's {flow.name}.{step}')} [label={_quoted(step)}];")
        lines.append("  }")
    for source, target, label in _edges(lineage):
        lines.append(f"  {_quoted(source)} -> {_quoted(target)}" + (f" [label={_quoted(label)}];" if label else ";"))
    return "\n".join([*lines, "}"])


def as_mermaid(lineage: Lineage) -> str:
    """The same for Mermaid."""
    names: dict[str, str] = {}

    def node(key: str) -> str:
        return names.setdefault(key, f"n{len(names)}")

    lines = ["flowchart LR"]
    for dataset in lineage.datasets:
        lines.append(f"  {node(f'd {dataset.name}')}[({_mermaid(dataset.name)})]")
    for number, flow in enumerate(lineage.flows):
        lines.append(f"  subgraph g{number} [{_mermaid(flow.name)}]")
        lines.append(f"    {node(f'f {flow.name}')}({_mermaid(flow.name)})")
        for step in dict.fromkeys(use.step for use in flow.uses):
            lines.append(f"    {node(f's {flow.name}.{step}')}[{_mermaid(step)}]")
        lines.append("  end")
    for source, target, label in _edges(lineage):
        for key in (source, target):
            if key not in names:  # a flow that is not among these
                lines.append(f"  {node(key)}({_mermaid(key[2:])})")
        lines.append(f"  {node(source)} -->{f'|{_mermaid(label)}|' if label else ''} {node(target)}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    escaped = text.replace('"', "#quot;")
    return f'"{escaped}"'
