"""Findings: flow.toml."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL1001",
        name="bad-toml",
        message="flow.toml is not valid TOML: {problem}",
        help="mend the line, or remove it: a project needs no key of `flow.toml` at all",
        explanation="The project file is read before anything else. While it cannot be read, nothing is compiled, "
        "because a wrong default would change what every step does.",
    ),
    Entry(
        code="FL1002",
        name="unknown-project-key",
        message="flow.toml has no key `{key}`{where}",
        help="{hint}",
        explanation="A key that nothing reads is nearly always a misspelt one, and its setting would be lost in "
        "silence. `[project]` knows `name`, `sources`, `main` and `python`; `[defaults]` the settings of a task; "
        "`[env.NAME]` differences between environments.",
    ),
    Entry(
        code="FL1003",
        name="bad-project-value",
        message="`{key}` in flow.toml must be {wanted}, not {got}",
        help="{hint}",
        explanation="Each key of the project file has one type. Lists of paths are relative to the folder of "
        "`flow.toml`.",
    ),
    Entry(
        code="FL1004",
        name="missing-source-folder",
        message="the source folder `{path}` does not exist",
        help="change `sources` in `[project]` of flow.toml, or create the folder",
        explanation="`sources` lists the folders and files that `flowc compile` reads. One that is not there would "
        "mean that flows you believe to be compiled are not.",
    ),
    Entry(
        code="FL1005",
        name="no-sources",
        message="there is no `.flow` file in `{folder}`",
        help="create one, as `main.flow`, or name the files to compile",
        explanation="Hidden folders, `node_modules`, and folders with a `flow.toml` of their own are not searched.",
    ),
)
