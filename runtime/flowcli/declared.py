"""What the project in a folder declares: for what is set before it is deployed."""

from __future__ import annotations

from pathlib import Path

import msgspec
from flowc.pipeline import compile_paths
from flowc.plan import ConnectionDef
from flowc.project import find_project
from flowrun.manifest import Variable

__all__ = ["DeclaredHere", "declared_here"]


class DeclaredHere(msgspec.Struct, frozen=True):
    """Nothing, where there is no project, or one with errors."""

    variables: tuple[Variable, ...] = ()
    connections: tuple[ConnectionDef, ...] = ()
    #: there is a project, and it does not compile: what it declares is not known
    has_errors: bool = False

    @property
    def hint(self) -> str:
        """For who misses a declaration."""
        if not self.has_errors:
            return ""
        return "what the project in this folder declares is not known, for it has errors: `flowc compile`"


def declared_here(root: Path) -> DeclaredHere:
    """Of all flows of the project with this folder."""
    if not (root / "flow.toml").is_file():
        return DeclaredHere()
    compilation = compile_paths(find_project(root))
    plans = [part for flow in compilation.plans for part in (flow.plan, *flow.plan.children.values())]
    variables = {
        one.name: Variable(name=one.name, type=plan.types[one.type], default=one.default)
        for plan in plans
        for one in plan.vars
    }
    connections = {one.name: one for plan in plans for one in plan.connections}
    return DeclaredHere(tuple(variables.values()), tuple(connections.values()), compilation.has_errors)
