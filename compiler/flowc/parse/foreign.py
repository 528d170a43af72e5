"""Habits from other languages: what they are called here."""

from __future__ import annotations

__all__ = ["FOREIGN_SIGNS", "FOREIGN_WORDS", "WORDS_BEFORE", "WORDS_IN_THE_MIDDLE", "foreign_help"]

#: sign -> (the terminal it is read as, or "" to leave it out; what to write)
FOREIGN_SIGNS: dict[str, tuple[str, str]] = {
    "&&": ("and", "write `and`"),
    "||": ("or", "write `or`"),
    "!": ("not", "write `not`"),
    "===": ("==", "write `==`"),
    "!==": ("!=", "write `!=`"),
    "=>": (":", "an arm of a `match` is `value: result`, a chain is `a(x) -> b`"),
    ":=": ("=", "write `=` to bind a name"),
    "**": ("*", "there is no power operator: multiply, or compute it in a task"),
    "++": ("", "names are bound once: bind a new name, as in `next = n + 1`"),
    "+=": ("=", "names are bound once: bind a new name, as in `total = a + b`"),
    "-=": ("=", "names are bound once: bind a new name, as in `rest = a - b`"),
    "*=": ("=", "names are bound once: bind a new name, as in `product = a * b`"),
    "/=": ("=", "names are bound once: bind a new name, as in `ratio = a / b`"),
    "%=": ("=", "names are bound once: bind a new name, as in `rest = a % b`"),
    ";": ("_NL", "a statement ends with its line: leave the semicolon out, or write a comma to put two on one line"),
}

#: first word of a statement or declaration -> what to write
FOREIGN_WORDS: dict[str, str] = {
    "def": 'tasks are declared with `task name(a: int) returns int { run: python("module:function") }`',
    "function": "tasks are declared with `task name(a: int) returns int { run: … }`",
    "func": "tasks are declared with `task name(a: int) returns int { run: … }`",
    "fn": "tasks are declared with `task name(a: int) returns int { run: … }`",
    "class": "a record type is declared with `type Name = { field: string }`",
    "struct": "a record type is declared with `type Name = { field: string }`",
    "enum": 'a choice is declared with `type Name = "a" | "b"`',
    "import": 'declarations are imported with `use "path.flow" { name }` or `use std.http { get }`',
    "from": 'declarations are imported with `use "path.flow" { name }` or `use std.http { get }`',
    "include": 'declarations are imported with `use "path.flow" { name }`',
    "const": "a constant is declared with `let name = value`",
    "dag": "a workflow is declared with `flow name(a: int) { … }`",
    "workflow": "a workflow is declared with `flow name(a: int) { … }`",
    "pipeline": "a workflow is declared with `flow name(a: int) { … }`",
    "job": "a unit of work is declared with `task name(a: int) { run: … }`",
    "for": "work on each item with `each item in items { … }`",
    "foreach": "work on each item with `each item in items { … }`",
    "while": "loop with `repeat with { max: 100 } { … } until condition`",
    "elif": "write `else if`",
    "elseif": "write `else if`",
    "elsif": "write `else if`",
    "try": "handle a failure with `x = f(a) catch(e) { return … }`",
    "except": "handle a failure with `x = f(a) catch(e) { return … }`",
    "switch": 'choose with `match value { "a": …, else: … }`',
    "case": 'choose with `match value { "a": …, else: … }`',
    "raise": "a task fails by raising in Python; a flow fails when a step of it fails",
    "throw": "a task fails by raising in Python; a flow fails when a step of it fails",
    "pass": "an empty block is `{ }`",
    "await": "steps wait for the data that they use; wait without data with `after`",
    "async": "steps without data between them run side by side; there is no `async`",
    "lambda": "give a name: the stages of a chain are tasks",
    "set": "a name is bound with `name = value`",
    "print": "call a task that prints, or read results with `return`",
}

#: words that are told wherever they stand; the others only where a statement begins
WORDS_IN_THE_MIDDLE: dict[str, str] = {
    **{word: FOREIGN_WORDS[word] for word in ("elif", "elseif", "elsif", "except")},
    "as": "imports keep their names: leave `as …` out",
    "is": "compare with `==`, also with `null`",
    "default": "the last arm of a `match` is `else: result`",
    "otherwise": "write `else`",
    "do": "blocks stand in braces: `{ … }`",
}
#: words before a value -> what to write
WORDS_BEFORE: dict[str, str] = {
    "lambda": "there are no anonymous functions: a stage of a chain is a task",
    "new": "call it without `new`",
    "await": "steps wait for the data that they use; wait without data with `after`",
    "async": "steps without data between them run side by side; there is no `async`",
    "const": "a name is bound with `name = value`",
}

_CHARACTERS = {
    "name": "names are written with a–z, A–Z, 0–9 and `_`; other text may stand in quotes as a key",
    "@": "settings stand in the task's braces: `task t() { retry: { max: 3 } }`",
    "\\": "a line goes on after an operator, a comma or an open bracket: no backslash is needed",
    "`": 'strings stand in double quotes: "…"',
    "‘": 'strings stand in double quotes: "…"',
    "’": 'strings stand in double quotes: "…"',
    "'": 'strings stand in double quotes: "…"',
    "“": 'strings stand in double quotes: "…"',
    "$": 'interpolation stands in quotes: "${name}"; elsewhere write the name alone',
    "…": "write three dots: `...`",
    "→": "write `->`",
    "×": "write `*`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "–": "write `-`",
    "−": "write `-`",
    "&": "write `and`",
    "^": "there is no such operator",
    "~": "there is no such operator",
    "\u00a0": "this is a non-breaking space: write an ordinary one",
    "\ufeff": "this is a byte order mark in the middle of the text: delete it",
}  # fmt: skip


def foreign_help(character: str) -> str | None:
    """What to write instead of a character that the language does not use."""
    return _CHARACTERS.get(character) or _CHARACTERS.get(character[:1])
