"""Suppression comments."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flowc.catalog import Findings
from flowc.project import Loader, find_project
from flowc.resolve import resolve
from flowc.suppress import suppress

LIB = 'task a { run: shell("a") }\ntask b { run: shell("b") }\n'


def told(root: Path, text: str) -> list[tuple[str, str]]:
    """The findings that are left: name, and message."""
    (root / "main.flow").write_text(text)
    (root / "lib.flow").write_text(LIB)
    findings = Findings()
    modules = resolve([root / "main.flow"], Loader(find_project(root), findings), findings)
    suppress(modules, findings)
    return [(found.name, found.message) for found in findings.sorted()]


USE = 'use "lib.flow" { a }'
FLOW = "\nflow f { x = 1 }\n"
UNUSED = [("unused-import", "`a` is imported and never used")]


@pytest.mark.parametrize(
    "text",
    [
        f"{USE} # flow: ignore[unused-import] for later",
        f"{USE} #flow:ignore[unused-import]",
        f"{USE} # flow: ignore[FL0206]",
        f"{USE} # flow: ignore[ unused-import ]",
        f"# flow: ignore[unused-import] for later\n{USE}",
        f"# flow: ignore[unused-import]\n\n# more\n{USE}",
        'use "lib.flow" {\n  a # flow: ignore[unused-import]\n  b\n}\nflow g { b() }',
    ],
)
def test_silenced(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text + FLOW) == []


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("ignore[unused-imports]", "`unused-imports` is not reported here: there is no such finding"),
        ("ignore[]", "`flow: ignore` is not reported here: the comment names no finding"),
        ("ignore", "`flow: ignore` is not reported here: the comment names no finding"),
        (
            "ignore[duplicate-name]",
            "`duplicate-name` is not reported here: it is an error, and errors cannot be silenced",
        ),
        ("ignore[unused-suppression]", "`unused-suppression` is not reported here: nothing is silenced"),
    ],
)
def test_a_comment_that_silences_nothing(tmp_path: Path, comment: str, message: str) -> None:
    assert told(tmp_path, f"{USE} # flow: {comment}{FLOW}") == [*UNUSED, ("unused-suppression", message)]


def test_one_of_two_names_is_unused(tmp_path: Path) -> None:
    found = told(tmp_path, f"{USE} # flow: ignore[unused-import, unused-suppression]{FLOW}")
    assert found == [
        ("unused-suppression", "`unused-suppression` is not reported here: nothing is silenced"),
    ]


def test_other_lines_are_not_silenced(tmp_path: Path) -> None:
    found = told(tmp_path, f"{USE}\nflow f {{ x = 1 }} # flow: ignore[unused-import]\n")
    assert [name for name, _ in found] == ["unused-import", "unused-suppression"]


def test_text_in_quotes_is_no_comment(tmp_path: Path) -> None:
    text = USE.replace("a }", "a, b }") + '\nflow f {\n  a()\n  b()\n  x = "# flow: ignore[unused-import]"\n}\n'
    assert told(tmp_path, text) == []


def test_warnings_about_installed_packages_are_silent(tmp_path: Path) -> None:
    path = tmp_path / "main.flow"
    path.write_text(f"{USE}\n")
    (tmp_path / "lib.flow").write_text(LIB)
    findings = Findings()
    (module, _) = resolve([path], Loader(find_project(tmp_path), findings), findings)
    assert [found.name for found in findings.sorted()] == ["unused-import"]
    suppress([msgspec.structs.replace(module, is_installed=True)], findings)
    assert findings.sorted() == []


def test_errors_stay_and_hide_unused_comments(tmp_path: Path) -> None:
    found = told(tmp_path, "let a = 1\nlet a = 2 # flow: ignore[duplicate-name, unused-import]\n")
    assert [name for name, _ in found] == ["duplicate-name"]
