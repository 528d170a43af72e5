"""The grammar: no conflicts, stored tables that are up to date, and a function for each rule."""

from __future__ import annotations

import flowgrammar
import pytest
from flowc.parse import build
from flowc.parse.tokens import HARD, KEYWORDS, SOFT, TRAILING
from flowgrammar.tables import encode
from lark.exceptions import GrammarError


def test_stored_tables_are_those_of_the_grammar() -> None:
    """After a change of flow.lark: `python -m flowgrammar`. Building also proves that there is no conflict."""
    assert encode(flowgrammar.load()) == encode(flowgrammar.build(flowgrammar.grammar_text()))


def test_a_conflict_is_refused() -> None:
    text = flowgrammar.grammar_text()
    with pytest.raises(GrammarError):
        flowgrammar.build(text.replace("?sum: product |", "?sum: product | sum sum_op sum -> binary |"))


def test_each_rule_has_a_function() -> None:
    actions = {rule.action for rule in flowgrammar.load().rules if rule.action}
    assert [action for action in sorted(actions) if not callable(getattr(build, action, None))] == []


def test_each_keyword_of_the_grammar_is_known_to_the_lexer_and_the_other_way_round() -> None:
    terminals = {terminal for row in flowgrammar.load().actions for terminal in row}
    assert {terminal for terminal in terminals if terminal.isalpha() and terminal.islower()} == KEYWORDS
    assert not SOFT & HARD
    assert terminals >= TRAILING


def test_a_changed_grammar_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = flowgrammar.load()
    built: list[str] = []

    def build(text: str) -> flowgrammar.Tables:
        built.append(text)
        return stored

    changed = flowgrammar.grammar_text() + "\n// a comment more\n"
    monkeypatch.setattr("flowgrammar.tables.grammar_text", lambda: changed)
    monkeypatch.setattr("flowgrammar.tables.build", build)
    assert flowgrammar.load.__wrapped__() is stored
    assert built == [changed]
