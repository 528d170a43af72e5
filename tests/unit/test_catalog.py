"""The catalogue: codes, texts, uses in the code, and examples that show what they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from string import Formatter

import pytest
from flowc.catalog import FAMILIES, Entry, Findings, by_code, by_name, entries
from flowc.diagnostic import Diagnostic, Label
from flowc.pipeline import Compilation, compile_paths
from flowc.project import find_project
from flowc.source import Span

COMPILER = Path(__file__).parents[2] / "compiler" / "flowc"
PREFIXES = {
    "input": "FL00",
    "syntax": "FL01",
    "names": "FL02",
    "graph": "FL03",
    "types": "FL04",
    "settings": "FL05",
    "time": "FL06",
    "capacity": "FL07",
    "safety": "FL08",
    "support": "FL09",
    "project": "FL10",
}
ENTRIES = [pytest.param(entry, id=f"{entry.code}-{entry.name}") for entry in entries()]
WITH_EXAMPLES = [pytest.param(entry, id=f"{entry.code}-{entry.name}") for entry in entries() if entry.bad]


# ---- entries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_codes_stand_in_the_range_of_their_family(family: str) -> None:
    found = import_module(f"flowc.catalog.{family}").ENTRIES
    assert [entry.code for entry in found if not re.fullmatch(PREFIXES[family] + r"\d\d", entry.code)] == []
    assert [entry.code for entry in found] == sorted(entry.code for entry in found)


def test_codes_and_names_are_unique() -> None:
    assert len(by_code()) == len(by_name()) == len(entries())


@pytest.mark.parametrize("entry", ENTRIES)
def test_texts(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert entry.message
    assert not entry.message.endswith(".")
    assert entry.help or all("help" in use.given for use in USES if use.name == entry.name)
    assert entry.explanation.endswith((".", "```"))
    assert bool(entry.bad) == bool(entry.good)


# ---- uses -----------------------------------------------------------------------------------------------------------


class Use:
    """A call that reports a finding: `findings.add("name", …)`, or a `report` that hands it on."""

    def __init__(self, path: Path, call: ast.Call, name: str) -> None:
        self.place = f"{path.relative_to(COMPILER)}:{call.lineno}"
        self.name = name
        self.given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        self.is_open = any(keyword.arg is None for keyword in call.keywords)


def uses() -> Iterator[Use]:
    for path in sorted(COMPILER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute() as method, args=[ast.Constant(value=str(name)), _, *_]):
                    if _reports(method):
                        yield Use(path, node, name)


def _reports(method: ast.Attribute) -> bool:
    return method.attr.lstrip("_") == "report" or (method.attr == "add" and "findings" in ast.unparse(method.value))


USES = list(uses())


def test_only_known_findings_are_reported() -> None:
    assert len(USES) > 20
    assert [f"{use.place}: {use.name}" for use in USES if use.name not in by_name()] == []


def test_reports_give_every_field_of_their_texts() -> None:
    missing = []
    for use in USES:
        entry = by_name().get(use.name)
        if entry is None or use.is_open:
            continue
        texts = entry.message + ("" if "help" in use.given else entry.help)
        wanted = {field for _, field, _, _ in Formatter().parse(texts) if field}
        missing += [f"{use.place}: {use.name} lacks {field}" for field in sorted(wanted - use.given)]
    assert missing == []


def test_every_finding_is_reported_somewhere() -> None:
    texts = "".join(
        path.read_text(encoding="utf-8") for path in COMPILER.rglob("*.py") if path.parent.name != "catalog"
    )
    assert [entry.name for entry in entries() if f'"{entry.name}"' not in texts] == []


# ---- examples -------------------------------------------------------------------------------------------------------


#: what the examples' tasks run
STEPS = "def ping(n: int = 1) -> int: ...\n"


def compiled(root: Path, text: str) -> Compilation:
    (root / "steps.py").write_text(STEPS, encoding="utf-8")
    (root / "main.flow").write_text(text, encoding="utf-8")
    return compile_paths(find_project(root))


def shown(diagnostics: tuple[Diagnostic, ...]) -> list[str]:
    return [f"{found.code} {found.name}: {found.message}" for found in diagnostics]


@pytest.mark.parametrize("entry", WITH_EXAMPLES)
def test_bad_example_gives_its_finding_and_no_other_error(entry: Entry, tmp_path: Path) -> None:
    found = compiled(tmp_path, entry.bad).diagnostics
    others = tuple(one for one in found if one.severity == "error" and one.code != entry.code)
    assert shown(others) == []
    assert entry.code in {one.code for one in found}, shown(found)


@pytest.mark.parametrize("entry", WITH_EXAMPLES)
def test_good_example_gives_nothing(entry: Entry, tmp_path: Path) -> None:
    compilation = compiled(tmp_path, entry.good)
    assert shown(compilation.diagnostics) == []
    assert compilation.program is not None


# ---- Findings -------------------------------------------------------------------------------------------------------

SPAN = Span("a.flow", 3, 5)


def test_findings_fill_the_templates() -> None:
    findings = Findings()
    label = Label(span=SPAN, text="here")
    findings.add("duplicate-name", SPAN, labels=(label,), name="{x}", what="declared")
    (found,) = findings.sorted()
    assert (found.code, found.severity, found.message) == ("FL0202", "error", "`{x}` is already declared")
    assert (found.span, found.labels, found.help) == (SPAN, (label,), "give one of them another name")


def test_own_help_replaces_that_of_the_entry() -> None:
    findings = Findings()
    findings.add("unused-import", SPAN, help="{as it is}", name="x")
    assert findings.sorted()[0].help == "{as it is}"


def test_one_finding_per_place_and_name() -> None:
    findings = Findings()
    for name in ("first", "second"):
        findings.add("unused-import", SPAN, name=name)
    findings.add("shadows-builtin", SPAN, name="x", what="a function")
    assert [found.name for found in findings.sorted()] == ["shadows-builtin", "unused-import"]
    assert "first" in findings.sorted()[1].message


def test_findings_are_sorted_by_place() -> None:
    findings = Findings()
    for file, start in (("b", 1), ("a", 9), ("a", 2)):
        findings.add("unused-import", Span(file, start, start + 1), name="x")
    assert [(found.span.file, found.span.start) for found in findings.sorted()] == [("a", 2), ("a", 9), ("b", 1)]


def test_extend_and_remove() -> None:
    first, second = Findings(), Findings()
    first.add("unused-import", SPAN, name="x")
    assert not first.has_errors
    second.add("shadows-builtin", SPAN, name="x", what="a function")
    second.extend(first.sorted())
    assert second.has_errors
    second.remove(second.sorted()[0])
    assert second.sorted() == first.sorted()


def test_unknown_names_are_a_bug() -> None:
    with pytest.raises(KeyError):
        Findings().add("no-such-finding", SPAN)
