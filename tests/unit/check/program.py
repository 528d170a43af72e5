"""Checks a text in memory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from flowc import ir
from flowc.catalog import Findings
from flowc.check import check
from flowc.project import Loader, Project
from flowc.resolve import resolve
from flowc.source import Source

ROOT = Path("/nowhere")

TASKS = """
task number(x: int) returns int { run: shell("echo ${x}") }
task add(a: int, b: int = 1) returns int { run: shell("echo ${a} ${b}") }
task maybe(x: int? = null) returns int? { run: shell("echo ${x ?? 0}") }
task total(xs: list<int>) returns int { run: shell("echo ${len(xs)}") }
task listing() returns list<int> { run: shell("echo '[1]'") }
task note(text: string) { run: shell("echo ${text}") }
"""


def checked(text: str, *, toml: str = "", **files: str) -> tuple[ir.Program, Findings]:
    """The program of `main.flow`, and what was found. `files` are others: lib_flow="…" is lib.flow."""
    overlay = {ROOT / name.replace("_", "."): content for name, content in files.items()}
    overlay[ROOT / "main.flow"] = text
    project = Project(root=ROOT, name="test")
    if toml:
        defaults = tomllib.loads(toml)["defaults"]
        project = Project(root=ROOT, name="test", file=Source("flow.toml", toml), defaults=defaults)
    findings = Findings()
    modules = resolve([ROOT / "main.flow"], Loader(project, findings, overlay), findings)
    return check(modules, project, findings), findings


def flow(body: str, head: str = "main()", tasks: str = TASKS) -> ir.Flow:
    """The flow of some statements over TASKS; it must have no errors."""
    program, findings = checked(f"{tasks}\nflow {head} {{\n{body}\n}}\n")
    assert [found for found in findings.sorted() if found.severity == "error"] == []
    return program.flows["main.flow:" + head.partition("(")[0]]


def names(text: str) -> list[str]:
    """The names of what is found in a text."""
    return [found.name for found in checked(text)[1].sorted()]


def steps(block: ir.Block) -> Iterator[ir.Step]:
    """All steps, those of inner blocks too."""
    for step in block.steps:
        yield step
        for inner in _blocks(step):
            yield from steps(inner)


def _blocks(step: ir.Step) -> tuple[ir.Block, ...]:
    match step:
        case ir.BranchStep(arms=arms):
            return arms
        case ir.CatchStep(body=body, handler=handler):
            return (body, handler)
        case ir.UsingStep(setup=setup, body=body, cleanup=cleanup):
            return (setup, body, cleanup)
        case ir.EachStep(body=body) | ir.RepeatStep(body=body) | ir.WatchStep(body=body):
            return (body,)
    return ()


def named(found: ir.Flow) -> dict[str, ir.Step]:
    """The steps that have names."""
    return {step.name: step for step in steps(found.body) if step.name}
