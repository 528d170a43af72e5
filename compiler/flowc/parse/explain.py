"""What a syntax error means to the person who made it.

`explain` looks at the token where the machine stopped, at what could have come instead, and at the words around it.
The cases go from the particular (a habit from another language, a misspelt keyword, `=` for `:`) to the general
("a comma is missing", "`)` is not expected after `(`").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flowc.suggest import nearest
from flowc.syntax import Node

from . import machine
from .build import Refused
from .foreign import FOREIGN_WORDS, WORDS_BEFORE, WORDS_IN_THE_MIDDLE
from .problems import Problem
from .tokens import HARD, KEYWORDS, Tokens

__all__ = ["Broken", "explain"]

_DECLARATIONS = (
    "use", "type", "let", "var", "pool", "queue", "limit", "connection", "sla", "task", "chain", "group",
    "chord", "flow", "test",
)  # fmt: skip
_KINDS = frozenset({"pool", "queue", "limit", "connection", "sla"})
_STATEMENTS = ("if", "using", "return", "trigger", "on", "mock", "expect", "each", "repeat", "match")
_OPERATORS = frozenset({
    "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "??", "and", "or", "not", "in", "->", "=", ":",
    ".", "?.", "|", "...",
})  # fmt: skip
_LEADING = frozenset(
    [*_OPERATORS, "return", "expect", "after", "until", "if", "then", "else", "each", "match", "(", "[", "${"]
)
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})
_VALUES = frozenset({"NAME", "NUMBER", "DATE", "STRING", "QUOTE"})
_ENDS = frozenset(["$END", "_NL", ",", "}", ")", "]", "UNQUOTE", ":"])
#: the only thing that could come -> why
_MISSING = {
    "until": "a `repeat` ends with `until condition`",
    "finally": "a `using` ends with `finally { … }`",
    "else": "the value form of `if` needs both: `if condition then a else b`",
    "then": "a choice between two values is `if condition then a else b`",
    "in": "write `each item in items { … }`",
    "(": "a failure gets a name: `catch(e) { … }`",
    "=": 'a name comes first, then `=` and the value, as in `trigger nightly = cron("0 4 * * *", tz: "UTC")`',
    "{": "write a block or a record: `{ … }`",
    "NAME": "give it a name",
    "STRING": "write text in double quotes",
    ":": "a key or parameter is followed by `:`",
}


class Broken(NamedTuple):
    """A unit and where the machine stopped in it."""

    text: str
    #: the unit, with $END
    tokens: Tokens
    #: the token that cannot stand here
    at: int
    #: the machine's states
    states: list[int]
    #: the start rule: decl or stmt
    rule: str

    @property
    def type(self) -> str:
        return self.tokens.types[self.at]

    @property
    def node(self) -> Node:
        return self.tokens.values[self.at]

    @property
    def before(self) -> str:
        """The type of the token before, "" at the beginning."""
        return self.tokens.types[self.at - 1] if self.at else ""

    @property
    def after(self) -> str:
        return self.tokens.types[self.at + 1] if self.at + 1 < len(self.tokens) else ""

    def spelling(self, index: int) -> str:
        node = self.tokens.values[index]
        return self.text[node.start : node.end]

    def problem(self, finding: str, index: int, /, *, help: str | None = None, **fields: object) -> Problem:
        """The finding at a token."""
        node = self.tokens.values[index]
        return Problem(finding, node.start, node.end, fields, help)

    def gap(self, finding: str, /, *, help: str | None = None, **fields: object) -> Problem:
        """Something is missing: after the token before, or at the token itself if it begins the line."""
        end = self.tokens.values[self.at - 1].end if self.at else self.node.start
        return Problem(finding, end, end, fields, help)


Case = Callable[[Broken, set[str]], Problem | None]


def explain(broken: Broken) -> Problem:
    """The finding for the place where the machine stopped."""
    expected = machine.expected(broken.states)
    for case in _CASES:
        problem = case(broken, expected)
        if problem is not None:
            return problem
    return _unexpected(broken, expected)


# ---- words -----------------------------------------------------------------------------------------------------------


def _foreign_word(broken: Broken, expected: set[str]) -> Problem | None:
    first = broken.spelling(0)
    types = broken.tokens.types
    if first in FOREIGN_WORDS and (
        types[0] == "for" or (types[0] == "NAME" and (broken.at <= 1 or types[1] == "NAME"))
    ):
        return broken.problem("foreign-syntax", 0, found=first, help=FOREIGN_WORDS[first])
    word = broken.spelling(broken.at)
    if broken.before == "NAME" and broken.spelling(broken.at - 1) in WORDS_BEFORE:
        word = broken.spelling(broken.at - 1)
        return broken.problem("foreign-syntax", broken.at - 1, found=word, help=WORDS_BEFORE[word])
    if broken.type == "NAME" and word in WORDS_IN_THE_MIDDLE:
        return broken.problem("foreign-syntax", broken.at, found=word, help=WORDS_IN_THE_MIDDLE[word])
    return None


def _foreign_sign(broken: Broken, expected: set[str]) -> Problem | None:
    help: str | None = None
    found = broken.type
    if found == "?" and broken.before in _VALUES | {")", "]"}:
        help = "a choice between two values is `if condition then a else b`"
    elif found == "[" and "<" in expected and "returns" not in expected and broken.before == "NAME":
        help = "the type of the items stands in angle brackets: `list<int>`"
    elif found == "->" and "returns" in expected:
        help = "the type of the result stands after `returns`"
    elif found == ":" and "{" in expected and broken.after in ("$END", "_NL", "{", "NAME", ""):
        python = "returns" not in expected or broken.after != "NAME"
        help = "blocks stand in braces: `{ … }`" if python else "the type of the result stands after `returns`"
    elif found == "not" and broken.after == "in":
        return broken.problem("foreign-syntax", broken.at, found="not in", help="write `not (a in b)`")
    elif found == ">" and broken.before == ">":
        help = "steps run one after the other with `b(a(x))` or `a(x) -> b`; without data, with `after`"
        return broken.problem("foreign-syntax", broken.at - 1, found=">>", help=help)
    elif found == "|" and "->" in expected:
        help = "steps run one after the other with `b(a(x))` or `a(x) -> b`"
    elif found == "," and expected == {"in"}:
        help = "several names stand in parentheses: `each (a, b) in pairs { … }`"
    elif _has_letter_before(broken):
        help = 'leave the letter out: every text interpolates with `"… ${x} …"`'
        return broken.problem("foreign-syntax", broken.at - 1, found=broken.spelling(broken.at - 1), help=help)
    return broken.problem("foreign-syntax", broken.at, found=found, help=help) if help else None


def _has_letter_before(broken: Broken) -> bool:
    """Whether a text follows a letter at once, as in `f"…"`."""
    if broken.type not in ("STRING", "QUOTE") or not broken.at:
        return False
    touches = broken.tokens.values[broken.at - 1].end == broken.node.start
    return touches and broken.spelling(broken.at - 1) in ("f", "r", "b")


def _misspelt(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type == "NAME":
        words = sorted(word for word in expected if word in KEYWORDS and len(word) > 2)
        near = nearest(broken.spelling(broken.at), words)
        if near is not None and broken.at > 0:
            return broken.problem("misspelt-keyword", broken.at, found=broken.spelling(broken.at), keyword=near)
    first, types = broken.spelling(0), broken.tokens.types
    if types[0] == "NAME" and broken.at >= 1 and types[1] not in ("=", ":", "(", ".", "->") and first not in _KINDS:
        near = nearest(first, _DECLARATIONS if broken.rule == "decl" else _STATEMENTS)
        if near is not None and (broken.at <= 2 or broken.rule == "decl"):
            return broken.problem("misspelt-keyword", 0, found=first, keyword=near)
    return None


def _keyword_as_name(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type in HARD and "NAME" in expected and not expected | {"QUOTE"} >= _VALUES:
        return broken.problem("keyword-as-name", broken.at, word=broken.type)
    if broken.type == "=" and broken.at == 1 and broken.before in KEYWORDS:
        return broken.problem("keyword-as-name", 0, word=broken.before)
    return None


def _misplaced(broken: Broken, expected: set[str]) -> Problem | None:
    first = broken.tokens.types[0]
    if broken.rule == "stmt" and first in _DECLARATIONS and broken.at <= 1:
        return broken.problem("misplaced-declaration", 0, word=first)
    binds = broken.tokens.types[:2] == ["NAME", "="]
    if broken.rule == "decl" and broken.at <= 1 and (binds or _is_statement(broken)):
        help = None
        if binds:
            help = f"a constant is declared with `let {broken.spelling(0)} = …`; steps stand in a flow"
        return broken.problem("misplaced-statement", 0, help=help)
    return None


def _is_statement(broken: Broken) -> bool:
    try:
        machine.run(broken.tokens, "stmt")
    except (machine.Stop, Refused):
        return False
    return True


# ---- `=`, `:` and friends -------------------------------------------------------------------------------------------


def _wrong_separator(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type == "=":
        if expected == {":"} or (":" in expected and "=" not in expected and _opens_entry(broken)):
            hint = "a parameter is `name: type`" if expected == {":"} and _in_parentheses(broken) else None
            return broken.problem("wrong-separator", broken.at, found="=", right=":", help=hint)
        if "==" in expected:
            return broken.problem("assignment-in-expression", broken.at)
    if broken.type == ":" and "=" in expected:
        return broken.problem("wrong-separator", broken.at, found=":", right="=")
    return None


def _opens_entry(broken: Broken) -> bool:
    return broken.at >= 2 and broken.tokens.types[broken.at - 2] in ("(", "{", ",", "_NL")


def _in_parentheses(broken: Broken) -> bool:
    types = broken.tokens.types[: broken.at]
    return types.count("(") > types.count(")")


def _missing_type(broken: Broken, expected: set[str]) -> Problem | None:
    if expected == {":"} and broken.type in (",", ")") and broken.before in ("NAME", "WORD"):
        return broken.problem("missing-type", broken.at - 1, name=broken.spelling(broken.at - 1))
    return None


def _chained_comparison(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type in _COMPARISONS and (broken.before in _VALUES or broken.before in (")", "]")) and "and" in expected:
        return broken.problem("chained-comparison", broken.at)
    return None


def _text_expected(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type == "QUOTE" and "STRING" in expected:
        return broken.problem("interpolation-not-possible", broken.at)
    return None


# ---- what is missing ------------------------------------------------------------------------------------------------


def _lone_else(broken: Broken, expected: set[str]) -> Problem | None:
    belongs = {"else": "if", "finally": "using", "until": "repeat", "then": "if", "catch": "call", "with": "call"}
    if broken.type not in belongs:
        return None
    help = {
        "else": "`else` follows the `}` of an `if`, or the value after `then`",
        "finally": "`finally` follows the `}` of a `using`",
        "until": "`until` follows the `}` of a `repeat`",
        "then": "`then` follows the condition of an `if`",
        "catch": "`catch(e) { … }` follows a call",
        "with": "`with { … }` follows a call, a group, `each … in …` or `repeat`",
    }[broken.type]
    return broken.problem("word-without-partner", broken.at, word=broken.type, partner=belongs[broken.type], help=help)


def _missing_value(broken: Broken, expected: set[str]) -> Problem | None:
    types = broken.tokens.types
    opener = next((index for index in range(broken.at - 1, 0, -1) if types[index] == "{"), 0)
    if opener and types[opener - 1] in ("if", "until") and "}" not in types[opener : broken.at]:
        return broken.problem("missing-value", opener - 1, what="condition", before=types[opener - 1])
    if opener and types[0] == "if" and types[opener - 1] in _OPERATORS and "}" not in types[opener : broken.at]:
        return broken.problem("missing-value", opener - 1, what="value", before=types[opener - 1])
    if broken.before in ("=", ":", "|", "<", "returns") and _is_type_expected(expected):
        return broken.problem("missing-value", broken.at - 1, what="type", before=broken.before)
    if broken.type not in _ENDS and broken.type not in _OPERATORS and broken.type != "{":
        return None
    if broken.before in _LEADING and (expected >= _VALUES or broken.before in (".", "?.")):
        if broken.before in ("(", "[") and broken.type not in _OPERATORS:
            return None
        what = "name" if broken.before in (".", "?.") else "value"
        return broken.problem("missing-value", broken.at - 1, what=what, before=broken.before)
    return None


def _is_type_expected(expected: set[str]) -> bool:
    return expected >= {"NAME", "STRING"} and "NUMBER" not in expected


def _superfluous_equals(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type == "=" and "{" in expected and broken.rule == "decl":
        help = f"write `{broken.spelling(0)} {broken.spelling(1)} {{ … }}`, without `=`"
        return broken.problem("foreign-syntax", broken.at, found="=", help=help)
    return None


def _arm_without_quotes(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type != "NAME" or not {"STRING", "else"} <= expected or "match" not in broken.tokens.types:
        return None
    word = broken.spelling(broken.at)
    hint = "any other value is `else: …`" if word == "_" else f'a text stands in quotes: `"{word}": …`'
    return broken.problem("unexpected-token", broken.at, found=f"`{word}`", where=_where(broken), hint=hint)


def _missing_part(broken: Broken, expected: set[str]) -> Problem | None:
    could = expected - {"returns", "WORD"}
    if len(could) != 1 or broken.at == 0 or "$END" in could:
        return None
    part = next(iter(could))
    what = {"NAME": "a name", "STRING": "text in quotes"}.get(part, f"`{part}`")
    before = _described(broken.before, broken.spelling(broken.at - 1))
    help = _MISSING.get(part)
    if part == "=" and broken.tokens.types[0] == "using":
        help = "what is set up gets a name: `using session = open() { … } finally { … }`"
    if broken.type == "," and part == ")":
        help = "there are no tuples: a list or a group is `[a, b]`"
        return broken.problem("missing-part", broken.at, what=what, before=before, help=help)
    if broken.type in _ENDS:
        return broken.gap("missing-part", what=what, before=before, help=help)
    return broken.problem("missing-part", broken.at, what=what, before=before, help=help)


def _missing_block(broken: Broken, expected: set[str]) -> Problem | None:
    if broken.type in _VALUES and "{" in broken.tokens.types[broken.at :]:  # there is one, after something else
        return None
    if "BLOCK" not in expected and not ("{" in expected and not expected >= _VALUES):
        return None
    if _is_type_expected(expected):
        return None
    if broken.tokens.types[0] == "use":
        return broken.gap("missing-block", what="use", help="name what is imported: `use std.http { get, post }`")
    return broken.gap("missing-block", what=_construct(broken)) if broken.type != "}" else None


def _construct(broken: Broken) -> str:
    """The keyword that the missing block belongs to."""
    heads = {"if", "else", "each", "repeat", "using", "finally", "catch", "on", "task", "flow", "test", "match", "with"}
    words = [type_ for type_ in broken.tokens.types[: broken.at] if type_ in heads]
    return words[-1] if words else broken.spelling(0)


def _missing_separator(broken: Broken, expected: set[str]) -> Problem | None:
    starts = _VALUES | {"(", "[", "{"} | KEYWORDS
    if broken.type not in starts or broken.before in _OPERATORS:
        return None
    types, depth = broken.tokens.types, 0
    for index in range(broken.at - 1, -1, -1):
        if types[index] in ("}", ")", "]", "UNQUOTE"):
            depth += 1
        elif types[index] in ("{", "(", "[", "${"):
            depth -= 1
            if depth < 0:
                break
    outside = depth >= 0
    word = broken.spelling(broken.at).split("\n")[0]
    if not outside and "," in expected:
        return broken.gap("missing-comma", word=word)
    if outside and "$END" in expected:
        return broken.problem("missing-line-end", broken.at, word=word)
    return None


# ---- everything else ------------------------------------------------------------------------------------------------


def _unexpected(broken: Broken, expected: set[str]) -> Problem:
    index = broken.at
    if broken.type == "$END" and index:
        return broken.gap("unexpected-token", found=_end_of(broken), where=_where(broken), hint=_hint(expected))
    found = _described(broken.type, broken.spelling(index))
    if not index and broken.type in _OPERATORS:
        hint = "an operator stands at the end of a line, not at the start of the next one"
        return broken.problem("unexpected-token", index, found=found, where=_where(broken), hint=hint)
    return broken.problem("unexpected-token", index, found=found, where=_where(broken), hint=_hint(expected))


def _end_of(broken: Broken) -> str:
    return "the end of the declaration" if broken.rule == "decl" else "the end of the statement"


def _where(broken: Broken) -> str:
    if not broken.at:
        return "at the start of a declaration" if broken.rule == "decl" else "at the start of a statement"
    return f"after {_described(broken.before, broken.spelling(broken.at - 1))}"


def _described(type_: str, spelling: str) -> str:
    if type_ in ("STRING", "QUOTE", "CHARS", "END_QUOTE"):
        return "this text"
    if type_ == "_NL":
        return "the end of the line"
    if type_ == "BLOCK":
        return "this block"
    return f"`{spelling.splitlines()[0][:40]}`" if spelling else "this"


def _hint(expected: set[str]) -> str:
    names = []
    if expected >= _VALUES:
        names.append("a value")
        expected = expected & {"}", ")", "]"}
    elif {"NAME", "STRING", "{"} <= expected:
        names.append("a type")
        expected = set()
    elif "NAME" in expected:
        names.append("a name")
    names += [f"`{sign}`" for sign in sorted(expected) if not sign.isupper() and sign != "$END" and sign != "_NL"]
    if "_NL" in expected or "$END" in expected:
        names.append("the end of the line")
    if not names or len(names) > 6:
        return "the reference shows each construct with an example"
    return "here could stand " + (", ".join(names[:-1]) + " or " if len(names) > 1 else "") + names[-1]


_CASES: tuple[Case, ...] = (
    _foreign_word,
    _misplaced,
    _keyword_as_name,
    _misspelt,
    _foreign_sign,
    _wrong_separator,
    _missing_type,
    _chained_comparison,
    _text_expected,
    _missing_value,
    _lone_else,
    _superfluous_equals,
    _missing_block,
    _arm_without_quotes,
    _missing_part,
    _missing_separator,
)
