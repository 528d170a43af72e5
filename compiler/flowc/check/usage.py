"""What nothing uses: parameters, values, resources. Told only where there is no error, since a mistake elsewhere may
be the reason."""

from __future__ import annotations

from flowc import syntax
from flowc.resolve import Module

from .context import Context, Local, Shared
from .signatures import Signature

__all__ = ["report_unused", "report_unused_resources"]


def report_unused(cx: Context, node: syntax.FlowDecl, signature: Signature) -> None:
    """Parameters that nothing reads, and bound values that are computed for nothing. A call that is bound and not
    used is no finding: the binding names the step."""
    if cx.shared.findings.has_errors:
        return
    for local in cx.state.locals:
        for source in local.sources:
            source.used = source.used or local.used
    has_triggers = any(isinstance(one, syntax.TriggerStmt) for one in node.body.statements)
    for param in signature.params:
        local = cx.scope.names[param.name]
        if param.node is not None and not local.used and not has_triggers:
            cx.report("unused-input", param.node.name, name=param.name, owner=f"the flow `{signature.symbol.name}`")
    for statement in node.body.statements:
        if isinstance(statement, syntax.Bind) and _is_pure(statement.value):
            bound: Local | None = cx.scope.names.get(statement.name.text)
            if bound is not None and not bound.used:
                cx.report("unused-output", statement.name, what=f"`{bound.name}`", hint="use it, return it, or remove it")


def _is_pure(node: syntax.Expression) -> bool:
    pure = syntax.Literal | syntax.Name | syntax.Template | syntax.Unary | syntax.Attr | syntax.Index
    if isinstance(node, syntax.Binary):
        return _is_pure(node.left) and _is_pure(node.right)
    return isinstance(node, pure)


def report_unused_resources(shared: Shared, modules: list[Module]) -> None:
    """Pools, queues and connections that nothing names."""
    for module in modules:
        if shared.findings.has_errors:
            return
        place = Context(shared, module)
        for node in module.file.declarations:
            if isinstance(node, syntax.Resource) and node.kind.text in ("pool", "queue", "connection"):
                symbol = module.names.get(node.name.text)
                if symbol is not None and symbol.node is node and symbol.key not in shared.used:
                    place.report("unused-resource", node.name, kind=node.kind.text, name=node.name.text)
