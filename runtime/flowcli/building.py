"""Compiles for the command line: from paths to projects, and from compilations to messages and files.

Folders can hold several projects (each has a `flow.toml`); every project is compiled by itself, into its own
`.flow/build`. Places in messages are relative to where the user stands, not to the project.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from flowc.diagnostic import Diagnostic
from flowc.pipeline import Compilation, CompiledFlow, compile_paths
from flowc.project import FILE_NAME, Project, discover, find_project
from flowc.render import CompileReport, PlanFile, render_text, summary, to_finding
from flowc.source import Source, Span
from flowrun.source_text import source_text

from .build import write_build
from .output import say

__all__ = ["Outcome", "compile_all", "compile_project", "findings_of"]


class Outcome(msgspec.Struct, kw_only=True):
    """Of all projects together."""

    diagnostics: list[Diagnostic] = []
    sources: dict[str, Source] = {}
    plans: list[PlanFile] = []
    seconds: float = 0.0

    @property
    def has_errors(self) -> bool:
        return any(found.severity == "error" for found in self.diagnostics)

    def as_json(self) -> str:
        """The object of specs/schemas/compile.schema.json, on one line."""
        findings = tuple(to_finding(found, self.sources) for found in self.diagnostics)
        return msgspec.json.encode(CompileReport(diagnostics=findings, plans=tuple(self.plans))).decode()

    def text(self) -> str:
        """The findings with the lines they are about, as they go to standard error."""
        shown = render_text(self.diagnostics, self.sources, colour=sys.stderr.isatty())
        return f"{shown}\n\n{summary(self.diagnostics)}"

    def show_findings(self) -> None:
        if self.diagnostics:
            say(self.text() + "\n", err=True)

    def summary(self) -> str:
        if self.has_errors and not self.plans:
            return "no plans were written"
        flows = f"{len(self.plans)} flow{'s' * (len(self.plans) != 1)}"
        triggers = sum(len(plan.triggers) for plan in self.plans)
        flows += f" with {triggers} trigger{'s' * (triggers != 1)}" if triggers else ""
        folders = sorted({Path(plan.plan).parent.as_posix() for plan in self.plans})
        where = f" → {', '.join(folders)}" if len(folders) == 1 else ""
        return f"compiled {flows}{where} in {self.seconds:.2f} s"


def compile_all(paths: list[Path]) -> Outcome:
    """Compiles what the paths name, and writes the plans of every project without errors. Raises InputError."""
    began = time.monotonic()
    outcome = Outcome(diagnostics=[], sources={}, plans=[])
    for project, files in _projects(paths):
        compilation = compile_project(project, files)
        outcome.diagnostics += compilation.diagnostics
        outcome.sources |= compilation.sources
        if not compilation.has_errors:
            outcome.plans += _write(project, compilation, whole=not files)
    outcome.seconds = time.monotonic() - began
    return outcome


def compile_project(project: Project, files: Iterable[Path] = ()) -> Compilation:
    """As `compile_paths`, with places relative to the current folder."""
    return _relocated(compile_paths(project, files), project.root)


def findings_of(compilation: Compilation) -> Outcome:
    """The findings of one compilation, to show them."""
    return Outcome(diagnostics=list(compilation.diagnostics), sources=compilation.sources, plans=[])


def _projects(paths: list[Path]) -> Iterator[tuple[Project, list[Path]]]:
    """The projects that the paths touch, with the files to compile; none means all sources of the project."""
    if not paths:
        here = find_project(Path())
        if here.file is not None or here.findings:
            yield here, []
            return
        paths = [Path()]
    single: dict[Path, tuple[Project, list[Path]]] = {}
    for path in paths:
        if not path.is_dir():
            project = find_project(path)
            single.setdefault(project.root, (project, []))[1].append(path)
            continue
        inner = [Path(where) for where, _, files in _walk(path) if FILE_NAME in files]
        own = find_project(path)
        if own.root not in inner and (discover(own, path) or not inner):
            inside = path.absolute() != own.root
            single.setdefault(own.root, (own, []))[1].extend([path] if inside else [])
        yield from ((find_project(root), []) for root in sorted(inner))
    yield from single.values()


def _walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for where, folders, files in os.walk(folder.absolute()):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "node_modules"]
        yield where, folders, files


def _write(project: Project, compilation: Compilation, *, whole: bool) -> list[PlanFile]:
    """Writes the plans of a compilation without errors."""
    flows = [(flow.flow, flow.file, flow.plan) for flow in compilation.plans]
    sources = [os.path.relpath(name, project.root) for name in compilation.sources]
    names = write_build(project.root, flows, main=project.main, sources=sources, whole=whole)
    build = _shown(project.root / ".flow" / "build")
    return [_plan_file(project, flow, f"{build}/{names[f'{flow.file}:{flow.flow}']}") for flow in compilation.plans]


def _plan_file(project: Project, flow: CompiledFlow, path: str) -> PlanFile:
    triggers = {trigger.name: source_text(trigger.source) for trigger in flow.plan.triggers}
    file = _shown(project.root / flow.file)
    return PlanFile(flow=flow.flow, file=file, hash=flow.hash, plan=path, triggers=triggers)


def _shown(path: Path) -> str:
    """Relative to where the user stands."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def _relocated(compilation: Compilation, root: Path) -> Compilation:
    """The same with all places relative to the current folder."""
    if root == Path.cwd():
        return compilation

    def name(file: str) -> str:
        is_module = file in compilation.sources and not (root / file).exists()
        return file if is_module else _shown(root / file)

    def span(old: Span) -> Span:
        return Span(name(old.file), old.start, old.end)

    def diagnostic(old: Diagnostic) -> Diagnostic:
        labels = tuple(msgspec.structs.replace(label, span=span(label.span)) for label in old.labels)
        return msgspec.structs.replace(old, span=span(old.span), labels=labels)

    return msgspec.structs.replace(
        compilation,
        diagnostics=tuple(map(diagnostic, compilation.diagnostics)),
        sources={name(file): Source(name(file), source.text) for file, source in compilation.sources.items()},
    )
