"""A project in a folder for tests: sources compiled to a plan."""

from __future__ import annotations

import textwrap
from pathlib import Path

from flowc.pipeline import compile_paths
from flowc.plan import Plan
from flowc.project import find_project

__all__ = ["compiled"]


def compiled(root: Path, flow: str, tasks: str = "") -> Plan:
    """Writes main.flow and tasks.py, and compiles the first; the plan of its flow `main`."""
    (root / "tasks.py").write_text(textwrap.dedent(tasks))
    (root / "main.flow").write_text(textwrap.dedent(flow))
    found = compile_paths(find_project(root), [root / "main.flow"])
    errors = [one for one in found.diagnostics if one.severity == "error"]
    assert not errors, errors
    return next(flow.plan for flow in found.plans if flow.flow == "main")
