"""Every `flow` block of the language reference is compiled.

```flow                 a whole file, without findings of severity error
```flow prelude         tasks for the page's `flow steps` blocks
```flow steps           the inside of a flow
```flow error NAME      a whole file that gives exactly the finding NAME
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from flowc.pipeline import compile_paths
from flowc.project import find_project

REFERENCE = Path(__file__).parents[2] / "specs" / "reference"
_FENCE = re.compile(r"^```flow(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    page: str
    line: int
    text: str
    #: the finding it must give; "" for none
    error: str


def _examples() -> list[Example]:
    found = []
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        prelude = ""
        for match in _FENCE.finditer(text):
            info, body = match["info"].split(), match["text"]
            line = text.count("\n", 0, match.start()) + 1
            if info == ["prelude"]:
                prelude = body
            elif info == ["steps"]:
                body = f"{prelude}\nflow example() {{\n{body}\n}}\n"
            found.append(Example(page.name, line, body, info[1] if info[:1] == ["error"] else ""))
    return found


def test_the_reference_has_examples() -> None:
    assert len(_examples()) > 30


@pytest.mark.parametrize("example", _examples(), ids=lambda e: f"{e.page}:{e.line}")
def test_example_compiles(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "example.flow"
    path.write_text(example.text, encoding="utf-8")
    compiled = compile_paths(find_project(tmp_path), [path])
    errors = [found for found in compiled.diagnostics if found.severity == "error"]
    assert [found.name for found in errors] == ([example.error] if example.error else []), errors
