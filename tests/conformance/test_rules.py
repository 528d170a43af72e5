"""The trigger rules on the whole way from the text of a flow to its record, against the table of the design.

A flow has a step for each rule, all over the same upstreams, and behind each of them a step after `done`, whose start
tells when the verdict was there. Upstreams end as a case says, at times that it says.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from flowrun.messages import RunRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.rules import verdict
from tests.support.rules import COLUMNS, TABLE

from .cases import Case, Expected, Run
from .suite import CONFORMANCE
from .world import Plans, in_memory

STATES = {"S": "success", "F": "failed", "K": "skipped", "U": "upstream_failed"}
VERDICTS = {"R": "success", "k": "skipped", "u": "upstream_failed", "run": "success"}


class Verdict(NamedTuple):
    """What became of a step that has a rule."""

    state: str
    #: when that was certain, in seconds
    at: float


def program(ends: Sequence[str], least: int) -> str:
    """A flow over upstreams that end so, at the times that are its parameters."""
    lines = ['use "tasks.py" { end, number, note }', ""]
    lines += [f"flow main({', '.join(f't{i}: float' for i in range(len(ends)))}) {{"]
    for i, how in enumerate(ends):
        if how == "U":
            lines += [f'  p{i} = end("F", t{i})', f"  x{i} = number(p{i})"]
        else:
            lines += [f'  x{i} = end("{how}", t{i})']
    names = ", ".join(f"x{i}" for i in range(len(ends)))
    for rule in (*TABLE, "at_least"):
        given = f"{least}, [{names}]" if rule == "at_least" else f"[{names}]"
        lines += [f'  by_{rule} = note("") after {rule}({given})', f'  after_{rule} = note("") after done(by_{rule})']
    return "\n".join([*lines, "}", ""])


class Rules:
    """Runs such flows in virtual time."""

    def __init__(self, root: Path) -> None:
        self._root, self._plans = root, Plans()
        shutil.copy(CONFORMANCE / "tasks.py", root)

    def verdicts(self, ends: str, times: Sequence[float], least: int = 1) -> dict[str, Verdict]:
        """By rule, over upstreams that end so at these times."""
        record, began = self._run(program(ends, least), {f"t{i}": time for i, time in enumerate(times)})
        states = {row.step: row.state for row in record.steps}
        assert [states[f"x{i}"] for i in range(len(ends))] == [STATES[how] for how in ends]
        return {rule: Verdict(states[f"by_{rule}"], began[f"after_{rule}"]) for rule in (*TABLE, "at_least")}

    def states(self, text: str, args: dict[str, object]) -> dict[str, str]:
        """By step, of a flow."""
        record, _ = self._run(text, args)
        return {row.step: row.state for row in record.steps if row.index is None}

    def _run(self, text: str, args: dict[str, object]) -> tuple[RunRecord, dict[str, float]]:
        """What came of a flow, and when each step began."""
        path = self._root / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.flow"
        path.write_text(text)
        run = Run(flow="main", args=args, options={}, at=0.0, expected=Expected(state="success"))
        (outcome,) = in_memory(self._root, self._plans, Case(path=path, line=0, title="main", runs=(run,)))
        assert outcome.record is not None
        return outcome.record, {start.step: round(start.at or 0.0, 1) for start in outcome.starts}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return Rules(tmp_path_factory.mktemp("rules"))


def cell(rule: str, ends: str) -> str:
    """What the table says of two upstreams, whichever is which."""
    column = next(i for i, name in enumerate(COLUMNS) if sorted(name) == sorted(ends))
    return TABLE[rule].split()[column]


@pytest.mark.parametrize("ends", ["".join(pair) for pair in itertools.product("SFKU", repeat=2)])
@pytest.mark.parametrize("first", [0, 1], ids=["first-ends-first", "second-ends-first"])
def test_the_table_over_two_upstreams_in_both_orders(rules: Rules, ends: str, first: int) -> None:
    times = [1.0, 2.0] if first == 0 else [2.0, 1.0]
    found = rules.verdicts(ends, times)
    for rule in TABLE:
        moments = {0.0: cell(rule, ".."), 1.0: cell(rule, f"{ends[first]}."), 2.0: cell(rule, ends)}
        wanted = next(Verdict(VERDICTS[says], at) for at, says in moments.items() if says != "w")
        assert found[rule] == wanted, f"{rule} over {ends}, {times}"
        assert VERDICTS[cell(rule, ends)] == wanted.state, "what is told early stays"


def known_at(rule: str, ends: str, times: Sequence[float], least: int) -> float:
    """When the verdict is certain: the first moment from which on nothing that is open can change it."""
    if rule == "always":
        return 0.0
    if rule in ("done", "at_least"):  # these say that they wait; and at_least waits for what would not matter any more
        enough = sorted(time for how, time in zip(ends, times, strict=True) if how == "S")[least - 1 : least]
        return enough[0] if rule == "at_least" and enough else max(times)
    for now in sorted(times):
        known = [how if time <= now else "" for how, time in zip(ends, times, strict=True)]
        ways = itertools.product(*(one or "SFKU" for one in known))
        if len({verdict(rule, [STATES[how] for how in way]) for way in ways}) == 1:
            return now
    raise AssertionError("at the end everything is known")


@st.composite
def upstreams(draw: st.DrawFn) -> tuple[str, list[float], list[float], int]:
    """How up to five upstreams end, two orders in which they do, and a number for `at_least`."""
    ends = draw(st.text("SFKU", min_size=1, max_size=5))
    times = [float(i + 1) for i in range(len(ends))]
    return ends, draw(st.permutations(times)), draw(st.permutations(times)), draw(st.integers(1, len(ends)))


@settings(max_examples=60)
@given(upstreams())
def test_any_number_of_upstreams_in_any_order(rules: Rules, case: tuple[str, list[float], list[float], int]) -> None:
    ends, one, other, least = case
    for times in (one, other):
        found = rules.verdicts(ends, times, least)
        for rule in (*TABLE, "at_least"):
            says = verdict(rule, [STATES[how] for how in ends], least)
            wanted = Verdict(VERDICTS.get(says, says), known_at(rule, ends, times, least))
            assert found[rule] == wanted, f"{rule} over {ends}, {times}"


#: rules that look at the items of an `each` and the members of a group
LOOKING = ("any_ok", "any_failed", "any_done", "at_least")


def over_instances(rules: Rules, upstream: str, least: int, args: dict[str, object]) -> dict[str, str]:
    """State by rule of steps after one upstream that has instances."""
    lines = [
        'use "tasks.py" { end, note }',
        "",
        "flow main(ends: list<string>, times: list<float>) {",
        f"  x = {upstream}",
    ]
    for rule in (*TABLE, "at_least"):
        lines += [f'  by_{rule} = note("") after {rule}({f"{least}, [x]" if rule == "at_least" else "x"})']
    return rules.states("\n".join([*lines, "}", ""]), args)


@settings(max_examples=40)
@given(st.text("SFK", max_size=5), st.sampled_from(["fail", "collect", "skip"]), st.data())
def test_the_items_of_an_each(rules: Rules, ends: str, on_error: str, data: st.DataObject) -> None:
    times = [float(i) for i in data.draw(st.permutations(range(len(ends))))]
    least = data.draw(st.integers(1, 3))
    upstream = f'each (e, t) in zip(ends, times) with {{ on_error: "{on_error}" }} {{ return end(e, t) }}'
    found = over_instances(rules, upstream, least, {"ends": list(ends), "times": times})
    failed = on_error == "fail" and "F" in ends
    items = [STATES[how] for how in (ends[: ends.index("F") + 1] if failed else ends)] or ["success"]
    check_instances(found, items, "failed" if failed else "success", least)


@settings(max_examples=40)
@given(st.text("SFK", min_size=1, max_size=4), st.data())
def test_the_members_of_a_group(rules: Rules, ends: str, data: st.DataObject) -> None:
    times = [float(i) for i in data.draw(st.permutations(range(len(ends))))]
    least = data.draw(st.integers(1, len(ends)))
    members = ", ".join(f"end(ends[{i}], times[{i}])" for i in range(len(ends)))
    found = over_instances(rules, f"[{members}]", least, {"ends": list(ends), "times": times})
    whole = "upstream_failed" if "F" in ends else "skipped" if "K" in ends else "success"
    check_instances(found, [STATES[how] for how in ends], whole, least)


def check_instances(found: dict[str, str], instances: list[str], whole: str, least: int) -> None:
    for rule in (*TABLE, "at_least"):
        says = verdict(rule, instances if rule in LOOKING else [whole], least)
        assert found[f"by_{rule}"] == VERDICTS.get(says, says), f"{rule} over {instances}, {whole}"
