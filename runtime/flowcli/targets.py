"""What `flowc run` runs: from a plan, a source, a project or an earlier run to a plan.

Only what is needed is imported: a plan never pays for the compiler, and a project with unchanged sources does not
either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from flowc.plan import Plan

from .build import Manifest, fresh_manifest, read_plan, walk_sources
from .errors import FindingsError, InputError

__all__ = ["Candidate", "Target", "choose", "find_root", "load_target", "queues_of", "scan_queues"]

_FILE_NAME = "flow.toml"
_QUEUE = re.compile(r"^\s*queue\s+([A-Za-z_]\w*)", re.MULTILINE)
#: sources above this size are not looked through for queues, in bytes
_SCAN_BYTES = 1_000_000


class Target(NamedTuple):
    """A plan, and where its project is."""

    plan: Plan
    root: Path


class Candidate(NamedTuple):
    """A flow to choose."""

    flow: str
    file: str
    calls: Sequence[str]


def find_root(file: Path | None) -> Path:
    """The project's folder: of the nearest flow.toml upwards; without one, that of the file (of a plan in
    `.flow/build`, the folder that holds `.flow`); without a file, the current one."""
    start = Path.cwd() if file is None else file.absolute().parent
    if file is not None and file.suffix == ".flowplan" and start.parts[-2:] == (".flow", "build"):
        return start.parent.parent
    return next((folder for folder in (start, *start.parents) if (folder / _FILE_NAME).is_file()), start)


def load_target(file: Path | None, flow: str | None, root: Path) -> Target:
    """The plan to run. Raises InputError, FindingsError."""
    if file is not None and file.suffix == ".flowplan":
        return Target(_named(read_plan(file), flow, file), root)
    if file is None:
        if not (root / _FILE_NAME).is_file():
            help = "name a file (`flowc run hello.flow`), or go to a project's folder"
            raise InputError("there is no flow.toml here or in a folder above", place=str(Path.cwd()), help=help)
        manifest = fresh_manifest(root)
        if manifest is not None:
            return Target(_built(manifest, flow, root), root)
    elif file.is_dir():
        raise InputError("this is a folder", place=str(file), help=f"cd {file} && flowc run")
    return _compiled(file, flow)


def queues_of(plan: Plan) -> frozenset[str]:
    """The queues of a plan and of the flows that it calls."""
    return frozenset(settings.queue for one in (plan, *plan.children.values()) for settings in one.settings)


def scan_queues(file: Path | None, root: Path) -> frozenset[str]:
    """The queues that sources seem to declare, so that workers can start before the compiler has read them. A guess:
    `queues_of` knows."""
    found = {"default"}
    paths = {file} if file is not None and file.is_file() else set()
    if (root / _FILE_NAME).is_file() or file is None:
        paths.update(path for path in walk_sources(root) if path.suffix == ".flow")
    for path in paths:
        try:
            if path.stat().st_size < _SCAN_BYTES:
                found.update(_QUEUE.findall(path.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue  # the compiler will say what is wrong with it
    return frozenset(found)


def _named(plan: Plan, flow: str | None, file: Path) -> Plan:
    if flow is not None and flow != plan.flow:
        raise InputError(f"the plan is of the flow `{plan.flow}`, not of `{flow}`", place=str(file))
    return plan


def _built(manifest: Manifest, flow: str | None, root: Path) -> Plan:
    candidates = [Candidate(built.flow, built.file, built.calls) for built in manifest.flows]
    chosen = choose(candidates, flow, manifest.main, root / _FILE_NAME)
    return read_plan(root / ".flow" / "build" / manifest.flows[candidates.index(chosen)].plan)


def _compiled(file: Path | None, flow: str | None) -> Target:
    """Compiles in memory; findings go to standard error."""
    from flowc.project import find_project  # a plan does not need the compiler

    from .building import compile_project, findings_of

    project = find_project(file if file is not None else Path.cwd())
    compilation = compile_project(project, [file] if file is not None else [])
    outcome = findings_of(compilation)
    if outcome.has_errors:
        raise FindingsError(outcome.text(), outcome.as_json())
    outcome.show_findings()
    candidates = [
        Candidate(one.flow, one.file, [child.flow for child in one.plan.children.values()]) for one in compilation.plans
    ]
    main = project.main if file is None or project.main in {one.flow for one in candidates} else None
    chosen = choose(candidates, flow, main, file or project.root / _FILE_NAME)
    return Target(compilation.plans[candidates.index(chosen)].plan, project.root)


def choose(candidates: list[Candidate], flow: str | None, main: str | None, place: Path) -> Candidate:
    """The flow that is named, or the main one, or the only one that no other calls."""
    if not candidates:
        raise InputError("there is no flow to run", place=str(place), help="declare one: flow main() { … }")
    wanted = flow or main
    if wanted is not None:
        return _find(candidates, wanted, place)
    called = {name for one in candidates for name in one.calls if name != one.flow}
    open_ones = [one for one in candidates if one.flow not in called] or candidates
    if len(open_ones) == 1:
        return open_ones[0]
    names = _listed(sorted(one.flow for one in open_ones))
    help = f"choose one with --flow, or set `main` in {_FILE_NAME}: {names}"
    raise InputError("several flows could be run", place=str(place), help=help)


def _find(candidates: list[Candidate], wanted: str, place: Path) -> Candidate:
    found = [one for one in candidates if wanted in (one.flow, f"{one.file}:{one.flow}")]
    if len(found) == 1:
        return found[0]
    if found:
        help = "write one of " + _listed([f"{one.file}:{one.flow}" for one in found])
        raise InputError(f"several files have a flow `{wanted}`", place=str(place), help=help)
    names = [one.flow for one in candidates]
    close = get_close_matches(wanted, names, 1)
    help = f"did you mean `{close[0]}`?" if close else f"there are {_listed(sorted(names))}"
    raise InputError(f"there is no flow `{wanted}`", place=str(place), help=help)


def _listed(names: Iterable[str]) -> str:
    shown = [f"`{name}`" for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
