"""Did you mean."""

from __future__ import annotations

import pytest
from flowc.suggest import did_you_mean, nearest
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "candidates", "wanted"),
    [
        ("gret", ["greet", "great_circle"], "greet"),
        ("extarct", ["load", "extract"], "extract"),
        ("Extract", ["extract"], "extract"),
        ("retries", ["retry", "timeout"], None),
        ("x", ["y", "zz"], None),
        ("x", ["xs"], "xs"),
        ("X", ["x"], "x"),
        ("x", ["yz"], None),
        ("warehouse", ["pool", "queue"], None),
        ("same", ["same"], None),
        ("abc", [], None),
        ("tmieout", ["timeout", "timeouts"], "timeout"),
    ],
)
def test_nearest(name: str, candidates: list[str], wanted: str | None) -> None:
    assert nearest(name, candidates) == wanted


def test_the_nearer_candidate_wins_wherever_it_stands() -> None:
    assert nearest("process", ["processes", "proces"]) == "proces"
    assert nearest("process", ["proces", "processes"]) == "proces"


def test_sentence() -> None:
    assert did_you_mean("gret", ["greet"]) == "did you mean `greet`?"
    assert did_you_mean("gret", ["load"], "declare it") == "declare it"


@given(st.text(min_size=4, max_size=12, alphabet="abcdef_"), st.data())
def test_one_slip_is_always_recognised(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    slipped = data.draw(st.sampled_from([name[:at] + name[at + 1 :], name[:at] + "z" + name[at:]]))
    assert nearest(slipped, ["0123456789", name]) == name
