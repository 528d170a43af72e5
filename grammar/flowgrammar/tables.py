"""LALR tables: made from `flow.lark` by lark, stored as JSON, read without lark.

A terminal that is a fixed text is named by that text (`"->"`, `"task"`), a declared one by its name (`NAME`).
Each rule says how its function is called: with the values that `picks` chooses from the symbols on the stack.
Anonymous terminals are left out, `[x]` that is absent gives None, and what a rule with a leading underscore
(lark's repetitions among them) has gathered is spliced in.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from lark import Lark

__all__ = ["STARTS", "TABLES_FILE", "Rule", "Tables", "build", "encode", "grammar_text", "load"]

STARTS = ("file", "decl", "stmt", "expr")
TABLES_FILE = "flow.tables.json"


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """A production: what reducing by it does."""

    #: the nonterminal that it makes
    origin: str
    #: the number of symbols on its right side
    size: int
    #: the function to call; None hands its only symbol on; "" gathers a list
    action: str | None
    #: what the function gets: symbol i as `i`, a list to splice in as `~i`, nothing as None
    picks: tuple[int | None, ...]
    #: whether the first and the last symbol are lists
    starts_with_list: bool
    ends_with_list: bool


class Tables(msgspec.Struct, frozen=True):
    """An LALR(1) automaton."""

    #: SHA-256 of the grammar that it was made from
    digest: str
    #: the first state and the accepting state of each start rule
    starts: dict[str, tuple[int, int]]
    rules: list[Rule]
    #: per state and terminal: the state to shift to, or `~number` of the rule to reduce by
    actions: list[dict[str, int]]
    #: per state and nonterminal: the next state
    gotos: list[dict[str, int]]


def grammar_text() -> str:
    """The text of `flow.lark`."""
    return resources.files(__package__).joinpath("flow.lark").read_text(encoding="utf-8")


@cache
def load() -> Tables:
    """The stored tables; if they are older than the grammar, tables made on the spot."""
    text = grammar_text()
    stored = resources.files(__package__).joinpath(TABLES_FILE)
    if stored.is_file():
        tables = msgspec.json.decode(stored.read_bytes(), type=Tables)
        if tables.digest == _digest(text):
            return tables
    return build(text)


def build(text: str) -> Tables:
    """Makes the tables of a grammar. Raises lark's GrammarError for a conflict."""
    grammar = _lark(text)
    table = grammar.parser.parser._parse_table
    names = {terminal.name: _terminal_name(terminal) for terminal in grammar.terminals}
    rules = sorted(grammar.rules, key=lambda rule: (rule.origin.name, [symbol.name for symbol in rule.expansion]))
    rule_numbers = {rule: number for number, rule in enumerate(rules)}
    states = _state_numbers(table)
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    for state in states:
        row, jumps = {}, {}
        for symbol, (action, target) in sorted(table.states[state].items()):
            if action.name == "Reduce":
                row[names.get(symbol, str(symbol))] = ~rule_numbers[target]
            elif symbol.isupper() or symbol == "$END":
                row[names.get(symbol, str(symbol))] = states[target]
            else:
                jumps[str(symbol)] = states[target]
        actions.append(row)
        gotos.append(jumps)
    return Tables(
        digest=_digest(text),
        starts={start: (states[table.start_states[start]], states[table.end_states[start]]) for start in STARTS},
        rules=[_rule(rule) for rule in rules],
        actions=actions,
        gotos=gotos,
    )


def _state_numbers(table: Any) -> dict[int, int]:
    """Lark numbers its states by chance; here they are counted in the order in which they are reached."""
    numbers: dict[int, int] = {}
    waiting = [table.start_states[start] for start in STARTS]
    for state in waiting:
        if state in numbers:
            continue
        numbers[state] = len(numbers)
        targets = sorted(table.states[state].items())
        waiting += [target for _, (action, target) in targets if action.name == "Shift"]
    return numbers


def encode(tables: Tables) -> bytes:
    """The tables as JSON, one row a line, so that a change of the grammar gives a readable difference."""
    fields = []
    for name, value in msgspec.to_builtins(tables).items():
        if isinstance(value, list):
            rows = b",\n".join(msgspec.json.encode(row, order="deterministic") for row in value)
            fields.append(b'"%s":[\n%s\n]' % (name.encode(), rows))
        else:
            fields.append(b'"%s":%s' % (name.encode(), msgspec.json.encode(value, order="deterministic")))
    return b"{\n" + b",\n".join(fields) + b"\n}\n"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _lark(text: str) -> Lark:
    # Imported here because a compile reads stored tables and does not need lark.
    from lark import Lark
    from lark.lexer import Lexer

    class NoLexer(Lexer):
        __future_interface__ = 2

        def __init__(self, conf: object) -> None: ...

        def lex(self, lexer_state: object, parser_state: object) -> Iterator[Any]:
            return iter(())

    return Lark(text, parser="lalr", lexer=NoLexer, start=list(STARTS), strict=True, maybe_placeholders=True)


def _terminal_name(terminal: Any) -> str:
    return str(terminal.pattern.value if terminal.pattern.type == "str" else terminal.name)


def _rule(rule: Any) -> Rule:
    symbols = rule.expansion
    spliced = [symbol.name.startswith("_") and not symbol.is_term for symbol in symbols]
    picks = tuple(_picks(rule, spliced))
    action: str | None = str(rule.alias or rule.origin.name)
    if rule.origin.name.startswith("_"):
        action = ""
    elif rule.options.expand1 and not rule.alias and len(picks) == 1:
        action = None
    return Rule(
        origin=str(rule.origin.name),
        size=len(symbols),
        action=action,
        picks=picks,
        starts_with_list=bool(spliced) and spliced[0],
        ends_with_list=bool(spliced) and spliced[-1],
    )


def _picks(rule: Any, spliced: list[bool]) -> Iterator[int | None]:
    absent = list(rule.options.empty_indices) or [False] * len(rule.expansion)
    index = 0
    for is_absent in absent:
        if is_absent:
            yield None
            continue
        symbol = rule.expansion[index]
        if spliced[index]:
            yield ~index
        elif rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out):
            yield index
        index += 1
