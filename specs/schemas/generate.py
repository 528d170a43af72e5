"""Writes the published JSON schemas: `python specs/schemas/generate.py`. A test compares them with the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from flowc.ir import Program
from flowc.render import CompileReport
from flowcli.answers import (
    Approvals,
    Cancelled,
    Decided,
    Emitted,
    Levels,
    LogLine,
    Marked,
    Nodes,
    Paused,
    Rerunning,
    Runs,
    RunState,
    Signalled,
    Submitted,
)
from flowcli.backfilling import Backfilled, BackfillPlan, BackfillReport
from flowcli.connection_answers import ConnectionInfo, Connections, ConnectionTried
from flowcli.deployment_answers import (
    DeploymentChanged,
    DeploymentHistory,
    DeploymentPlanned,
    Deployments,
    SigningKeyInfo,
)
from flowcli.results import ErrorReport, RunReport
from flowcli.secret_answers import SealingKeys, SecretChanged, Secrets, SecretsSealed
from flowcli.triggers import Trigger, TriggerPaused, Triggers
from flowcli.variable_answers import VariableChanged, VariableEntry, Variables
from flowrun.lineage import Lineage

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema, by the name of its file."""
    ir = Program.model_json_schema()
    answers = [
        Submitted, Runs, RunState, LogLine, Cancelled, Nodes, Signalled, Emitted, Decided, Approvals, Paused, Marked,
        Rerunning, DeploymentChanged, DeploymentPlanned, DeploymentHistory, Deployments, SigningKeyInfo, BackfillReport,
        Levels, BackfillPlan, Backfilled, Lineage, Triggers, Trigger, TriggerPaused, Variables,
        VariableEntry, VariableChanged, Secrets, SecretChanged, SealingKeys, SecretsSealed, Connections, ConnectionInfo,
        ConnectionTried, ErrorReport,
    ]  # fmt: skip
    return {
        "answers.schema.json": _any_of(answers, "What the commands print that speak to nodes"),
        "compile.schema.json": _of_struct(CompileReport, "What `flowc compile --json` prints"),
        "ir.schema.json": {"$schema": DIALECT, **ir, "title": "The IR of a checked program"},
        "run.schema.json": _any_of([RunReport, ErrorReport, CompileReport], "What `flowc run --json` ends with"),
    }


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _of_struct(struct: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The schema of a struct whose parts stand under `$defs`."""
    (top,), parts = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    name = top["$ref"].rpartition("/")[2]
    return {"$schema": DIALECT, **parts.pop(name), "title": title, "$defs": parts}


def _any_of(structs: list[type[msgspec.Struct]], title: str) -> dict[str, Any]:
    """One of several structs."""
    tops, parts = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    return {"$schema": DIALECT, "title": title, "anyOf": list(tops), "$defs": parts}


if __name__ == "__main__":
    for name, schema in schemas().items():
        (Path(__file__).parent / name).write_text(text(schema), encoding="utf-8")
