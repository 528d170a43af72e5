"""From files to plans: load, parse, resolve, check, silence, lower.

Every pass reports into one `Findings`, and a later pass runs on whatever an earlier one could make sense of, so that
one compilation shows all mistakes. Plans are made only where there is no error at all.

The garbage collector is paused meanwhile: a compilation makes hundreds of thousands of objects, all of which live to
its end.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec

from . import ir
from .catalog import Findings
from .check import check
from .diagnostic import Diagnostic
from .lower import lower
from .plan import Plan, digest, encode
from .project import FILE_NAME, Loader, Project, discover
from .resolve import resolve
from .source import Source, Span
from .suppress import suppress

__all__ = ["Compilation", "CompiledFlow", "compile_paths"]


_TOWER = "some declarations build on one another in a tower of hundreds: join or shorten them"


class CompiledFlow(msgspec.Struct, frozen=True, kw_only=True):
    """One flow of the given files, ready to run."""

    flow: str
    #: the file that declares it, relative to the project's root
    file: str
    #: content address of the plan
    hash: str
    plan: Plan


class Compilation(msgspec.Struct, frozen=True, kw_only=True):
    """What a compilation found and made."""

    #: in the order of their places
    diagnostics: tuple[Diagnostic, ...]
    #: every file that was read, by the name that spans carry
    sources: dict[str, Source]
    #: None after errors
    program: ir.Program | None = None
    #: empty after errors
    plans: tuple[CompiledFlow, ...] = ()

    @property
    def has_errors(self) -> bool:
        return any(found.severity == "error" for found in self.diagnostics)


def compile_paths(
    project: Project, paths: Iterable[Path] = (), *, overlay: Mapping[Path, str] = MappingProxyType({})
) -> Compilation:
    """Compiles files and the `.flow` files of folders; without paths, the project's sources.

    `overlay` holds texts that stand in for files, by absolute path.
    """
    findings = Findings()
    findings.extend(project.findings)
    loader = Loader(project, findings, overlay)
    if project.file is not None:
        loader.sources[project.file.path] = project.file
    files = _files(project, list(paths))
    if not files:
        findings.add("no-sources", Span(FILE_NAME, 0, 0), folder=project.root.name or "/")
    with _collector_paused():
        try:
            program, plans = _passes(project, files, loader, findings)
        except RecursionError:  # expressions are bounded by the parser; a tower of declarations is not
            span = Span(project.show(files[0]), 0, 0)
            findings.add("nesting-too-deep", span, help=_TOWER, limit=sys.getrecursionlimit() // 3)
            program, plans = None, ()
    return Compilation(diagnostics=tuple(findings.sorted()), sources=loader.sources, program=program, plans=plans)


def _passes(
    project: Project, files: list[Path], loader: Loader, findings: Findings
) -> tuple[ir.Program | None, tuple[CompiledFlow, ...]]:
    modules = resolve(files, loader, findings)
    program = check(modules, project, findings, loader.read)
    suppress(modules, findings)
    if findings.has_errors:
        return None, ()
    shown = {project.show(path) for path in files}
    flows = [(key, flow) for key, flow in program.flows.items() if flow.file in shown]
    return program, tuple(_compiled(program, key, flow) for key, flow in flows)


def _compiled(program: ir.Program, key: str, flow: ir.Flow) -> CompiledFlow:
    plan = lower(program, key)
    return CompiledFlow(flow=flow.name, file=flow.file, hash=digest(encode(plan)), plan=plan)


def _files(project: Project, paths: list[Path]) -> list[Path]:
    if not paths:
        return discover(project)
    found = [file for path in paths for file in (discover(project, path) if path.is_dir() else [path.absolute()])]
    return list(dict.fromkeys(found))


@contextmanager
def _collector_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                # what was made counts as old, without a look at it
                gc.freeze()
                gc.unfreeze()
            gc.enable()
