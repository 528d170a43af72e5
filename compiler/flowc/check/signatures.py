"""What can be called, with its parameters: tasks, flows and composites, each read once."""

from __future__ import annotations

from typing import NamedTuple

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.types import JSON, NULL, ListOf, Optional, Type

from .constants import constant
from .context import Context, Shared
from .declared import Types
from .report import accept
from .types import holds_secret

__all__ = ["Param", "Signature", "Signatures"]


class Param(NamedTuple):
    name: str
    type: Type
    #: may be left out
    is_optional: bool
    #: a constant; None where there is none, or where the callee works it out
    default: ir.Expr | None
    #: None for a Python function's
    node: syntax.Param | None


class Signature(NamedTuple):
    """One callable."""

    symbol: Symbol
    params: tuple[Param, ...]
    by_name: dict[str, Param]
    #: NULL: no result
    returns: Type

    @property
    def open(self) -> list[Param]:
        """The parameters that must be given."""
        return [param for param in self.params if not param.is_optional]


class Signatures:
    """Reads signatures, constants and types on demand."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.types = Types(shared)
        self._known: dict[Symbol, Signature] = {}

    def of(self, symbol: Symbol) -> Signature:
        found = self._known.get(symbol)
        if found is None:
            found = self._known[symbol] = self._python(symbol) if symbol.python is not None else self._declared(symbol)
        return found

    def _declared(self, symbol: Symbol) -> Signature:
        node = symbol.node
        assert isinstance(node, syntax.TaskDecl | syntax.FlowDecl | syntax.Composite)
        place = Context(self._shared, symbol.module, symbol)
        params: dict[str, Param] = {}
        for param in node.signature.params:
            if param.name.text in params:
                first = params[param.name.text].node
                labels = (place.label(first.name, "first declared here"),) if first is not None else ()
                place.report("duplicate-name", param.name, labels=labels, name=param.name.text, what="a parameter")
                continue
            params[param.name.text] = self._param(place, symbol, param)
        returns = NULL if node.signature.returns is None else self.types.of(symbol.module, node.signature.returns)
        if holds_secret(returns) and node.signature.returns is not None:
            place.report(
                "secret-leak", node.signature.returns, what=f"the result of `{symbol.name}` is stored with the run"
            )
        return Signature(symbol, tuple(params.values()), params, returns)

    def _param(self, place: Context, symbol: Symbol, param: syntax.Param) -> Param:
        kind = self.types.of(symbol.module, param.type)
        if symbol.kind == "flow":
            # the default of a flow's parameter may use `run` and earlier parameters: the flow works it out
            is_optional = param.default is not None or isinstance(kind, Optional)
            if holds_secret(kind):
                place.report("secret-leak", param.type, what="the parameters of a flow are stored with the run")
            return Param(param.name.text, kind, is_optional, None, param)
        if param.default is None:
            is_null = isinstance(kind, Optional)
            return Param(param.name.text, kind, is_null, ["lit", None] if is_null else None, param)
        found = constant(place, param.default, f"the default of `{param.name.text}`")
        default = accept(place, param.default, found, kind, f"the parameter `{param.name.text}`")
        return Param(param.name.text, kind, True, default, param)

    def _python(self, symbol: Symbol) -> Signature:
        function = symbol.python
        assert function is not None
        params: dict[str, Param] = {}
        is_batch = "batch" in function.settings  # then it takes and gives lists, of what each call has
        for param in function.params:
            kind = _item(param.type) if is_batch else JSON if param.type is None else param.type
            is_optional = param.has_default or isinstance(kind, Optional)
            default = ["lit", None] if is_optional and not param.has_default else None
            params[param.name] = Param(param.name, kind, is_optional, default, None)
        returns = JSON if function.returns is None else function.returns
        if is_batch and returns != NULL:
            returns = _item(function.returns)
        return Signature(symbol, tuple(params.values()), params, returns)


def _item(kind: Type | None) -> Type:
    """Of a list."""
    return kind.item if isinstance(kind, ListOf) else JSON
