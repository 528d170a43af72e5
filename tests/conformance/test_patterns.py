"""There is a file for each of the 43 workflow patterns, and the table beside them says what the files say."""

from __future__ import annotations

import re
from collections import Counter

from .suite import PATTERNS, SPECS

_HEAD = re.compile(r"WCP-(\d+) (.+?) \((direct|indirect|no)\): ")
_ROW = re.compile(r"^\| \[(\d+) (.+?)\]\((\S+)\) \| (direct|indirect|no) \|", re.MULTILINE)
_COUNT = re.compile(r"^\| (direct|indirect|no) \| (\d+) \|$", re.MULTILINE)


def described() -> dict[int, tuple[str, str, str]]:
    """By number: title, file and support, as the files have them. What cannot be said has a page instead of a flow."""
    heads = [(spec.path.name, spec.rule) for spec in SPECS if spec.path.parent == PATTERNS]
    heads += [(path.name, path.read_text().removeprefix("# ")) for path in PATTERNS.glob("[0-9]*.md")]
    found = {}
    for name, text in heads:
        head = _HEAD.match(text)
        assert head is not None, f"{name} does not begin with `WCP-n Title (support): …`"
        assert name.startswith(f"{int(head[1]):02}-"), name
        assert name.endswith(".md") == (head[3] == "no"), name
        found[int(head[1])] = (head[2], name, head[3])
    return found


def test_there_is_a_file_for_each_pattern() -> None:
    assert sorted(described()) == list(range(1, 44))


def test_nearly_all_can_be_said_directly() -> None:
    support = Counter(support for _, _, support in described().values())
    assert support["direct"] >= 38
    assert support["no"] == 0


def test_every_flow_is_run() -> None:
    assert all(spec.cases and not spec.is_refused for spec in SPECS if spec.path.parent == PATTERNS)


def test_the_table_says_what_the_files_say() -> None:
    table = (PATTERNS / "README.md").read_text()
    assert {int(n): (title, file, support) for n, title, file, support in _ROW.findall(table)} == described()
    counts = Counter(support for _, _, support in described().values())
    assert {support: int(count) for support, count in _COUNT.findall(table)} == {"no": 0, **counts}
