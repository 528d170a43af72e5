"""The checker: from modules with resolved names to a checked program.

It goes over the program once, declaration by declaration:

    resources    pools, queues, connections (`resources`)
    constants    `let` and `var` are worked out (`constants`), types and signatures are read (`declared`, `signatures`)
    tasks        how they run, their settings, the Python function behind them (`tasks`)
    composites   each by itself; where they are called, they are inlined (`composites`)
    flows        elaborated statement by statement into steps (`flows`, `blocks` and what they use)
    the whole    calls in a circle (`cycles`), pools that wait for each other (`pools`), flows that start each other
                 (`trigger_loops`), times that cannot be kept (`timing`), what nothing uses (`usage`)

Elaborating and checking are one pass: an expression gives its form in the IR and its type together, and a place that
takes a value says what it takes. What was reported has the type `error`, which fits everywhere, so that one cause gives
one message. Nothing stops at a finding: the rest of the program is checked all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flowc import ir, syntax
from flowc.catalog import Findings
from flowc.project import Project
from flowc.resolve import Module, Symbol

from .blocks import block
from .composites import check_composite
from .constants import Lets
from .context import Context, Row, Shared
from .cycles import report_circles
from .elaborators import ELABORATORS
from .flows import read_flow
from .handlers import check_declared
from .pools import report_deadlocks
from .resources import read_resources, report_doubled
from .setting_values import Reader, from_plain
from .settings import read_row
from .signatures import Signatures
from .tasks import read_task
from .timing import report_times
from .trigger_loops import report_loops
from .undos import note_undos
from .usage import report_unused

__all__ = ["check"]


def check(
    modules: list[Module], project: Project, findings: Findings, load: Callable[[Path], bytes | None] = lambda _: None
) -> ir.Program:
    """Checks all modules. The program is complete and sound only if `findings` has no errors afterwards. `load` gives
    the bytes of a file, or None."""
    shared = Shared(findings, ELABORATORS, block)
    shared.read = lambda module, path: load((project.root / module.path).parent / path)
    shared.signatures = Signatures(shared)
    shared.constants = Lets(shared)
    resources = read_resources(shared, modules)
    symbols = _symbols(modules)
    _check_values(shared, modules, symbols)
    tasks: dict[str, ir.Task] = {}
    for symbol in symbols:
        if symbol.kind == "task":
            info = read_task(shared, shared.signatures.of(symbol))
            tasks[symbol.key] = info.task
            shared.task_rows[symbol] = info.row
    for symbol, row in shared.task_rows.items():
        check_declared(shared, shared.signatures.of(symbol), row)
    for symbol in symbols:
        if symbol.kind == "composite":
            check_composite(shared, shared.signatures.of(symbol))
    row = _project_row(shared, modules, project)
    read = {symbol: read_flow(shared, shared.signatures.of(symbol), row) for symbol in symbols if symbol.kind == "flow"}
    flows = {symbol.key: flow for symbol, flow in read.items()}
    bounded = {symbol for symbol in symbols if symbol.kind == "flow" and flows[symbol.key].max_depth is not None}
    report_circles(shared.calls, bounded, findings)
    report_deadlocks(shared, flows)
    report_loops(shared, read)
    report_times(shared, read)
    note_undos(shared, flows)
    report_unused(shared, modules)
    return ir.Program(
        flows=flows,
        tasks=tasks,
        pools=resources.pools,
        limits=resources.limits,
        queues=resources.queues,
        connections=resources.connections,
    )


def _symbols(modules: list[Module]) -> list[Symbol]:
    """Every declaration once, and every Python function that is imported; in written order."""
    found: dict[Symbol, None] = {}
    for module in modules:
        for symbol in module.names.values():
            if symbol.module is module or symbol.node is None:
                found[symbol] = None
    return list(found)


def _check_values(shared: Shared, modules: list[Module], symbols: list[Symbol]) -> None:
    """Types and constants that nothing uses are checked too; tests are told to be inactive."""
    for symbol in symbols:
        if symbol.kind == "type" and symbol.node is not None:
            shared.signatures.types.declared(symbol)
        elif symbol.kind in ("let", "var"):
            shared.constants.of(symbol)
    report_doubled(shared, [symbol for symbol in symbols if symbol.kind == "var"])
    for module in modules:
        for node in module.file.declarations:
            if isinstance(node, syntax.TestDecl):
                word = syntax.Ident(node.start, node.start + len("test"), "test")
                Context(shared, module).report("not-active-yet", word, construct="`test`")


def _project_row(shared: Shared, modules: list[Module], project: Project) -> Row:
    """The settings in `[defaults]` of flow.toml; findings stand at their keys."""
    if project.file is None or not modules or not isinstance(project.defaults, dict):
        return {}
    names: dict[str, Symbol] = {}
    for (_, name), symbol in shared.resources.items():
        names.setdefault(name, symbol)
    module = Module(
        path=project.file.path,
        source=project.file,
        file=syntax.File(0, 0, ()),
        names=names,
        python=modules[0].python,
    )
    entries: list[syntax.Entry | syntax.Spread] = []
    for key, value in project.defaults.items():
        span = project.key_span("defaults", key)
        ident = syntax.Ident(span.start, span.end, key)
        entries.append(syntax.Entry(span.start, span.end, ident, from_plain(value, span.start, span.end)))
    return read_row(Reader(Context(shared, module), is_plain=True), entries, "defaults")
