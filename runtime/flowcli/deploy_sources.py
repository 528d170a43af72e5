"""From a project's sources to what is deployed of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowc.pipeline import Compilation
from flowc.plan import LimitDef, Plan, PoolDef
from flowc.project import Project
from flowrun.code.packing import pack_code
from flowrun.connections import ConnectionProblem, configured
from flowrun.deployments.building import Built, build

from .building import compile_project, findings_of
from .errors import FindingsError, InputError

__all__ = ["build_project"]


def build_project(
    project: Project, paths: Iterable[Path], with_code: bool, connections: Mapping[str, Any] = MappingProxyType({})
) -> Built:
    """Compiles the project, or some of its files, and packs its code. `connections`: fields that are other in the
    environment. Raises FindingsError, InputError, FlowError."""
    compilation = compile_project(project, paths)
    outcome = findings_of(compilation)
    if outcome.has_errors:
        raise FindingsError(outcome.text(), outcome.as_json())
    outcome.show_findings()
    _check_names(project, compilation)
    program = compilation.program
    assert program is not None
    code = pack_code(project.root, project.python) if with_code else None
    return build(
        project.name,
        _configured([flow.plan for flow in compilation.plans], connections),
        pools=[PoolDef(name=pool.name, slots=pool.slots) for pool in program.pools.values()],
        limits=[
            LimitDef(name=limit.name, rate=limit.rate, per_ms=limit.per_ms, burst=limit.burst)
            for limit in program.limits.values()
        ],
        code=code.digest if code else "",
        code_blobs={code.digest: code.data} if code else {},
    )


def _configured(plans: list[Plan], connections: Mapping[str, Any]) -> list[Plan]:
    """With what flow.toml says of connections in the environment. Raises InputError."""
    known = {one.name for plan in plans for part in (plan, *plan.children.values()) for one in part.connections}
    for name in connections:
        if name not in known:
            close = get_close_matches(name, known, 1)
            help = f"did you mean `{close[0]}`?" if close else "declare it, or take the table out"
            raise InputError(f"no flow uses a connection `{name}`", place="flow.toml", help=help)
    try:
        return [configured(plan, connections) for plan in plans]
    except ConnectionProblem as error:
        raise InputError(str(error), place="flow.toml") from error


def _check_names(project: Project, compilation: Compilation) -> None:
    """A deployed flow is found by its name."""
    if not compilation.plans:
        raise InputError("there is no flow to deploy", place=str(project.root), help="declare one: flow main() { … }")
    for name, count in Counter(flow.flow for flow in compilation.plans).items():
        if count > 1:
            files = ", ".join(flow.file for flow in compilation.plans if flow.flow == name)
            raise InputError(f"{count} files have a flow `{name}`", place=files, help="rename all but one of them")
