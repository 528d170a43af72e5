"""What nothing uses: parameters, values, resources. Told only where there is no error, since a mistake elsewhere may
be the reason."""

from __future__ import annotations

from flowc import syntax
from flowc.resolve import Module

from .context import Context, Local, Shared
from .signatures import Signature

__all__ = ["note_unused", "report_unused"]


def note_unused(cx: Context, node: syntax.FlowDecl, signature: Signature) -> None:
    """Notes parameters that nothing reads, and bound values that are worked out for nothing. A call that is bound and
    not used is no finding: the binding names the step."""
    for local in cx.state.locals:
        for source in local.sources:
            source.used = source.used or local.used
    has_triggers = any(isinstance(one, syntax.TriggerStmt) for one in node.body.statements)
    for param in signature.params:
        local = cx.scope.names[param.name]
        if param.node is not None and not local.used and not has_triggers:
            owner = f"the flow `{signature.symbol.name}`"
            cx.note_unused("unused-input", param.node.name, name=param.name, owner=owner)
    for statement in node.body.statements:
        if isinstance(statement, syntax.Bind) and _is_pure(statement.value):
            bound: Local | None = cx.scope.names.get(statement.name.text)
            if bound is not None and not bound.used:
                cx.note_unused("unused-output", statement.name, what=f"`{bound.name}`", hint=_HINT)


_HINT = "use it, return it, or remove it"


def report_unused(shared: Shared, modules: list[Module]) -> None:
    """Reports what was noted, and resources that nothing names; nothing where there are errors."""
    if shared.findings.has_errors:
        return
    for name, span, fields in shared.unused:
        shared.findings.add(name, span, **fields)
    _report_resources(shared, modules)


def _is_pure(node: syntax.Expression) -> bool:
    pure = syntax.Literal | syntax.Name | syntax.Template | syntax.Unary | syntax.Attr | syntax.Index
    if isinstance(node, syntax.Binary):
        return _is_pure(node.left) and _is_pure(node.right)
    return isinstance(node, pure)


_RESOURCES = ("pool", "limit", "queue", "connection", "signal", "sla")


def _report_resources(shared: Shared, modules: list[Module]) -> None:
    """Pools, limits, queues, connections and variables that nothing names."""
    for module in modules:
        place = Context(shared, module)
        for node in module.file.declarations:
            if isinstance(node, syntax.Resource) and node.kind.text in _RESOURCES:
                kind = node.kind.text
            elif isinstance(node, syntax.Var):
                kind = "variable"
            else:
                continue
            symbol = module.names.get(node.name.text)
            if symbol is not None and symbol.node is node and symbol.key not in shared.used:
                place.report("unused-resource", node.name, kind=kind, name=node.name.text)
