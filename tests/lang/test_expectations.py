"""What the compiler says, beside the line that causes it.

In the `.flow` files of this folder `# E: name` marks a line with an error, `# W: name` one with a warning, `# I: name`
one with advice; `# E: name "text"` wants the text in the message, the help or a label too. Every finding must be
expected, and every expectation found. A file without marks compiles without findings.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from flowc.diagnostic import Diagnostic
from flowc.pipeline import Compilation, compile_paths
from flowc.project import find_project

HERE = Path(__file__).parent
FILES = sorted(path for path in HERE.rglob("*.flow") if "lib" not in path.parent.parts)
_MARK = re.compile(r'# ([EWI]): ([a-z-]+)(?: "([^"]*)")?')
_LETTERS = {"error": "E", "warning": "W", "info": "I"}


def _said(found: Diagnostic) -> str:
    return "\n".join((found.message, found.help, *(label.text for label in found.labels)))


def _line(compiled: Compilation, found: Diagnostic) -> int:
    return compiled.sources[found.span.file].position(found.span.start).line


def test_there_are_files() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HERE).as_posix())
def test_expectations(path: Path) -> None:
    compiled = compile_paths(find_project(path.parent), [path])
    found = [(_line(compiled, one), one) for one in compiled.diagnostics if one.span.file == path.name]
    marks = [
        (number, *mark.groups())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for mark in _MARK.finditer(line)
    ]
    wanted = Counter((number, letter, name) for number, letter, name, _ in marks)
    given = Counter((number, _LETTERS[one.severity], one.name) for number, one in found)
    assert given == wanted, "\n".join(f"{number}: {one.name}: {_said(one)}" for number, one in found)
    for number, _, name, text in marks:
        said = [_said(one) for line, one in found if line == number and one.name == name]
        assert text is None or any(text in one for one in said), (number, name, text, said)
