"""The published JSON schemas are those of the code, and what is printed follows them."""

from __future__ import annotations

import runpy
from pathlib import Path

import jsonschema
import msgspec
import pytest
from flowc.diagnostic import Diagnostic
from flowc.render import CompileReport, PlanFile, to_finding
from flowc.source import Span

FOLDER = Path(__file__).parents[2] / "specs" / "schemas"
GENERATOR = runpy.run_path(str(FOLDER / "generate.py"))
SCHEMAS = GENERATOR["schemas"]()


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_current(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="utf-8")
    assert written == GENERATOR["text"](SCHEMAS[name]), "run `python specs/schemas/generate.py`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_a_report_follows_its_schema() -> None:
    found = Diagnostic(code="FL0201", name="unknown-name", severity="error", message="m", span=Span("a.flow", 0, 1))
    plan = PlanFile(flow="f", file="a.flow", hash="00", plan=".flow/build/f.flowplan")
    report = msgspec.json.decode(
        msgspec.json.encode(CompileReport(diagnostics=(to_finding(found, {}),), plans=(plan,)))
    )
    schema = SCHEMAS["compile.schema.json"]
    jsonschema.validate(report, schema)
    del report["diagnostics"][0]["line"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, schema)
