"""The LALR machine: tokens -> syntax nodes.

The tables come from `flowgrammar`; a reduction calls the rule's function of `build` at once, so that no other tree
exists in between. A keyword that is not reserved is tried as a name where it has no place as a keyword. The depth of
every value is kept beside it and limited, since all that comes later walks the nodes by recursion.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any

import flowgrammar
from flowgrammar import Rule, Tables

from . import build
from .tokens import SOFT, Tokens

__all__ = ["MAX_DEPTH", "Stop", "expected", "run"]

#: levels of nodes; 100 nested calls have 200
MAX_DEPTH = 250

Build = Callable[[list[Any]], Any]
#: actions and gotos per state; per rule its size, its nonterminal, its function, and by how much it deepens
Machine = tuple[list[dict[str, int]], list[dict[str, int]], list[tuple[int, str, Build | None, int]]]


class Stop(Exception):
    """The machine cannot go on: at which token, in which state (the stack of states, the last on top)."""

    def __init__(self, index: int, states: list[int]) -> None:
        super().__init__(index)
        self.index = index
        self.states = states


@cache
def _machine() -> Machine:
    tables: Tables = flowgrammar.load()
    rules = [(rule.size, rule.origin, _builder(rule), int(rule.action != "")) for rule in tables.rules]
    return tables.actions, tables.gotos, rules


def run(tokens: Tokens, start: str) -> Any:
    """Parses a stream that ends in $END and is not empty. Raises Stop, or `build.Refused` for what the grammar
    cannot tell."""
    actions, gotos, rules = _machine()
    first, accepting = flowgrammar.load().starts[start]
    state = first
    states = [first]
    values: list[Any] = []
    depths: list[int] = []
    for index, (type_, value) in enumerate(zip(tokens.types, tokens.values, strict=True)):
        while True:
            action = actions[state].get(type_)
            if action is None:
                other = _other_type(type_, value, actions[state])
                if other is None:
                    raise Stop(index, states)
                type_ = other
                continue
            if action >= 0:
                state = action
                states.append(state)
                values.append(value)
                depths.append(0)
                break
            size, origin, function, deepens = rules[~action]
            if function is None:  # the only symbol is handed on
                state = gotos[states[-2]][origin]
                states[-1] = state
            else:
                depth = max(depths[-size:]) + deepens
                if depth > MAX_DEPTH:
                    raise build.Refused("nesting-too-deep", value.start, value.end, limit=MAX_DEPTH)
                made = function(values[-size:])
                del states[-size:], values[-size:], depths[-size:]
                state = gotos[states[-1]][origin]
                states.append(state)
                values.append(made)
                depths.append(depth)
            if state == accepting and type_ == "$END":
                return values[-1]
    raise AssertionError("the stream has no $END")


def _other_type(type_: str, value: Any, row: dict[str, int]) -> str | None:
    """What else a word can be in a state: a name, or, before a colon, the keyword after all (`else:`)."""
    if type_ in SOFT and "NAME" in row:
        return "NAME"
    if type_ == "WORD" and value.text in row:
        return str(value.text)
    return None


def expected(states: list[int]) -> set[str]:
    """The terminals that could have come where the machine stopped."""
    actions, gotos, rules = _machine()
    accepting = {end for _, end in flowgrammar.load().starts.values()}

    def is_possible(type_: str) -> bool:
        """A reduction may still lead to a state that refuses the terminal."""
        stack = list(states)
        while (action := actions[stack[-1]].get(type_)) is not None:
            if action >= 0:
                return True
            size, origin, _, _ = rules[~action]
            del stack[-size:]
            stack.append(gotos[stack[-1]][origin])
            if stack[-1] in accepting:
                return type_ == "$END"
        return False

    return {type_ for type_ in actions[states[-1]] if is_possible(type_)}


def _builder(rule: Rule) -> Build | None:
    if rule.action is None:
        return None
    if rule.action == "":
        return _gatherer(rule)
    function: Callable[..., Any] = getattr(build, rule.action)
    picks = rule.picks
    plain = [pick for pick in picks if pick is not None and pick >= 0]
    if len(plain) < len(picks) or rule.starts_with_list or rule.ends_with_list:
        return _general_builder(rule, function)
    if len(plain) == 0:
        return lambda taken: function(taken[0].start, taken[-1].end)
    if len(plain) == 1:
        only = plain[0]
        return lambda taken: function(taken[0].start, taken[-1].end, taken[only])
    choose = itemgetter(*plain)
    return lambda taken: function(taken[0].start, taken[-1].end, *choose(taken))


def _general_builder(rule: Rule, function: Callable[..., Any]) -> Build:
    def call(taken: list[Any]) -> Any:
        start = taken[0][0].start if rule.starts_with_list else taken[0].start
        end = taken[-1][-1].end if rule.ends_with_list else taken[-1].end
        return function(start, end, *_chosen(rule.picks, taken))

    return call


def _gatherer(rule: Rule) -> Build:
    if rule.picks[:1] == (~0,):  # a repetition that goes on: the list is the parser's own and may grow in place
        picks = rule.picks[1:]

        def extend(taken: list[Any]) -> Any:
            taken[0].extend(_chosen(picks, taken))
            return taken[0]

        return extend
    return lambda taken: _chosen(rule.picks, taken)


def _chosen(picks: tuple[int | None, ...], taken: list[Any]) -> list[Any]:
    chosen: list[Any] = []
    for pick in picks:
        if pick is None:
            chosen.append(None)
        elif pick >= 0:
            chosen.append(taken[pick])
        else:
            chosen.extend(taken[~pick])
    return chosen
