"""The runner itself: what it reads, and that it finds what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .cases import Act, SpecError, Start, StepState, read
from .judge import differences, findings
from .suite import CONFORMANCE
from .world import Plans, in_memory

PROGRAM = """# The rule,
# in two lines.
use "tasks.py" { slow, even, number }

flow main(x: int) returns int {
  a = slow(x, 0.2)
  b = even(a)
  return number(b)
}
"""
RIGHT = """
#> main(x: 2) = 2
#>   steps: a success, b success 1
#>   starts: a 0s, b 200ms, number 200ms
#>   order: a, b, number
#>   took: 200ms
#> main(x: 3) fails ValueError at b "odd"
#>   steps: number upstream_failed
#> main(x: 2) is cancelled
#>   do 100ms: cancel
#>   do 150ms: signal go 1 refused "has ended"
"""
#: each is one line, as it stands above and as it is wrong
WRONG = {
    "a value": ("= 2", "= 3"),
    "its type": ("= 2", "= 2.0"),
    "an end": ("= 2", "is cancelled"),
    "a step's state": ("a success, b success", "a skipped, b success"),
    "a number of attempts": ("b success 1", "b success 2"),
    "a step": ("b success 1", "c success"),
    "a time": ("a 0s, b 200ms", "a 0s, b 300ms"),
    "a time that comes late": ("a 0s, b 200ms", "a 0s, b 0s"),
    "what began": ("b 200ms, number 200ms", "b 200ms"),
    "an order": ("a, b, number", "b, a, number"),
    "how long it took": ("took: 200ms", "took: 1s"),
    "an error": ("ValueError", "KeyError"),
    "where it failed": ("at b", "at a"),
    "a message": ('"odd"', '"even"'),
    "a refusal": ('1 refused "has ended"', "1"),
    "another refusal": ('"has ended"', '"no such thing"'),
    "a success instead": ("is cancelled", "= 2"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CONFORMANCE / "tasks.py", tmp_path)
    return tmp_path


def wrong(folder: Path, cases: str) -> list[str]:
    path = folder / "spec.flow"
    path.write_text(PROGRAM + cases)
    spec, plans = read(path), Plans()
    assert not findings(spec)
    return [one for case in spec.cases for one in differences(case, in_memory(folder, plans, case), exact=True)]


def test_what_is_right_passes(folder: Path) -> None:
    assert wrong(folder, RIGHT) == []


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(folder: Path, what: str) -> None:
    good, bad = WRONG[what]
    assert good in RIGHT
    assert wrong(folder, RIGHT.replace(good, bad, 1)) != []


@pytest.mark.parametrize(
    ("line", "mark", "expected"),
    [("x = 1", "", 0), ("x = y", "  # E: unknown-name", 0), ("x = y", "  # E: cycle", 2), ("x = 1", "  # E: cycle", 1)],
)
def test_findings_must_be_marked(folder: Path, line: str, mark: str, expected: int) -> None:
    path = folder / "spec.flow"
    cases = "" if mark else "#> main() = 1"
    path.write_text(f"# Rule.\nflow main() returns int {{\n  {line}{mark}\n  return x\n}}\n{cases}\n")
    assert len(findings(read(path))) == expected


PARTS = """
#> main(x: 2) with {"key": "k"} succeeds
#>   do 1h30m: approve call.ask {"note": "x"}
#>   steps: a[0, 1] failed 3, undo b success
#>   order: a[0, 1], b
#> and at 2s main(x: 3) = [1]
"""


def test_the_parts_of_a_case(folder: Path) -> None:
    path = folder / "spec.flow"
    path.write_text(PROGRAM + PARTS)
    spec = read(path)
    assert spec.rule == "The rule, in two lines."
    (case,) = spec.cases
    first, second = case.runs
    assert first.options == {"key": "k"}
    assert first.acts == (Act(at=5400.0, what="approve", name="call.ask", value={"note": "x"}),)
    assert first.expected.steps[0] == StepState(step="a", index=(0, 1), state="failed", attempts=3)
    assert first.expected.steps[1].step == "undo b"
    assert first.expected.order == (Start(step="a", index=(0, 1), at=None), Start(step="b", index=(), at=None))
    assert (second.at, second.args, second.expected.value) == (2.0, {"x": 3}, ([1],))
    assert case.seconds == 5400.0


@pytest.mark.parametrize(
    "text",
    [
        "flow main() {}\n#> main() = 1\n",
        "# Rule.\nflow main() {}\n",
        "# Rule.\n#> main() is happy\n",
        "# Rule.\n#> main(x) = 1\n",
        "# Rule.\n#>   steps: a success\n",
        "# Rule.\n#> main() = 1\n#>   stepps: a success\n",
        "# Rule.\n#> main() = 1\n#>   took: long\n",
        "# Rule.\nx = y  # E: unknown-name\n#> main() = 1\n",
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "spec.flow"
    path.write_text(text)
    with pytest.raises(SpecError):
        read(path)
