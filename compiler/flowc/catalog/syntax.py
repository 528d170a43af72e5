"""Findings: text that does not parse."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_PING = 'task ping(n: int = 1) returns int { run: python("steps:ping"), timeout: 1m }\n\n'
_RUN = 'run: python("steps:ping"), timeout: 1m'

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0101",
        name="unexpected-token",
        message="{found} is not expected {where}",
        help="{hint}",
        explanation="The text is no sentence of the language from this place on. The reference shows each construct "
        "with an example.",
        bad=_PING + "flow main { ping(1,, 2) }\n",
        good=_PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0102",
        name="unclosed-bracket",
        message="`{bracket}` is never closed",
        help="add the `{closer}` that belongs to it",
        explanation="Where the closing bracket belongs is guessed from the layout: a line that begins with `name =` is "
        "inside no parentheses, and a block ends where the indentation goes back.",
        bad=_PING + "flow main {\n  a = ping(1\n  b = ping(2)\n}\n",
        good=_PING + "flow main {\n  a = ping(1)\n  b = ping(2)\n}\n",
    ),
    Entry(
        code="FL0103",
        name="stray-bracket",
        message="`{bracket}` closes nothing",
        help="delete it, or add the bracket that it should close",
        explanation="Every closing bracket belongs to an opening one. This one is left over.",
        bad=_PING + "flow main { ping(1) }\n}\n",
        good=_PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0104",
        name="mismatched-bracket",
        message="`{closer}` does not close `{opener}`",
        help="write `{right}`",
        explanation="Brackets close in the reverse order of opening, each with its own kind.",
        bad=_PING + "flow main { ping(1] }\n",
        good=_PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0105",
        name="unclosed-string",
        message="the text that begins with {quote} is never closed",
        help='close it with the same quotes; text of several lines stands between `"""`',
        explanation='A string between `"` ends on its own line. Text between `"""` may span lines, and the '
        "indentation of the closing quotes is taken off each of them.",
        bad='task ping { run: shell("true), timeout: 1m }\n',
        good='task ping { run: shell("true"), timeout: 1m }\n',
    ),
    Entry(
        code="FL0106",
        name="unclosed-interpolation",
        message="`${{` is never closed",
        help="add the `}}` that belongs to it; `$${{` is a literal `${{`",
        explanation='`"${{value}}"` puts a value into text. In text between `"`, the whole interpolation stands on one '
        "line.".replace("{{", "{").replace("}}", "}"),
        bad='task ping(day: date) { run: shell("echo ${day"), timeout: 1m }\n',
        good='task ping(day: date) { run: shell("echo ${day}"), timeout: 1m }\n',
    ),
    Entry(
        code="FL0107",
        name="unknown-escape",
        message="`{escape}` is no escape",
        help="a backslash itself is written `\\\\`; the escapes are \\n \\t \\r \\0 \\\" \\\\ \\$ \\u0041 \\u{{1F600}}",
        explanation="A backslash in text begins an escape. Unknown ones are refused, so that a regular expression or "
        "a Windows path cannot change its meaning in silence.",
        bad='task find { run: shell("grep \\d+ log.txt"), timeout: 1m }\n',
        good='task find { run: shell("grep \\\\d+ log.txt"), timeout: 1m }\n',
    ),
    Entry(
        code="FL0108",
        name="unknown-character",
        message="`{character}` has no meaning here",
        help="delete it, or put it into a string",
        explanation="The language is written with ASCII letters, digits and signs. Anything may stand in strings and "
        "comments.",
        bad=_PING + "flow main { ping(§ 1) }\n",
        good=_PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0109",
        name="bad-number",
        message="`{text}` is no number",
        help="numbers: 12, 1_000, 1.5, 1e6; durations: 500ms, 30s, 2h30m, 3d, 1w; sizes: 64KB, 512MiB, 2GB",
        explanation="A number with a unit is a duration (ms, s, m, h, d, w) or a size in bytes (B, KB, MB, GB, TB in "
        "steps of 1000, KiB, MiB, GiB, TiB in steps of 1024).",
        bad='task ping { run: shell("true"), timeout: 30sec }\n',
        good='task ping { run: shell("true"), timeout: 30s }\n',
    ),
    Entry(
        code="FL0110",
        name="number-too-large",
        message="`{text}` is too large",
        help="whole numbers, durations in microseconds and sizes in bytes have 64 bits",
        explanation="Integers, durations (counted in microseconds) and sizes (in bytes) go up to 2⁶³ − 1, decimal "
        "fractions to about 1.8e308.",
        bad=_PING + "flow main { ping(99999999999999999999) }\n",
        good=_PING + "flow main { ping(9999999) }\n",
    ),
    Entry(
        code="FL0111",
        name="invalid-date",
        message="there is no `{text}` in the calendar",
        help="dates are 2026-01-31, times 2026-01-31T10:00 or 2026-01-31T10:00:00+02:00",
        explanation="Dates and times are written in ISO form and must exist: months have 28 to 31 days, days 24 hours.",
        bad="let first = 2026-02-30\n\n" + _PING + "flow main { ping(1) }\n",
        good="let first = 2026-02-28\n\n" + _PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0112",
        name="nesting-too-deep",
        message="this is nested more than {limit} levels deep",
        help="give names to the parts: bind them, or declare a `chain`, a `group` or a task",
        explanation="Nobody reads a hundred levels. The limit also keeps generated or hostile files from exhausting "
        "the compiler.",
        bad="let deep = " + "[" * 101 + "]" * 101 + "\n",
        good="let deep = " + "[" * 20 + "]" * 20 + "\n",
    ),
    Entry(
        code="FL0113",
        name="misspelt-keyword",
        message="`{found}` is no keyword",
        help="did you mean `{keyword}`?",
        explanation="Two words stand side by side only where the first is a keyword.",
        bad=_PING + "flow main returns int { retun ping(1) }\n",
        good=_PING + "flow main returns int { return ping(1) }\n",
    ),
    Entry(
        code="FL0114",
        name="keyword-as-name",
        message="`{word}` is a keyword and cannot be a name",
        help="choose another name; as a field, a key or an argument `{word}` is allowed",
        explanation="Some words begin or join expressions (`if`, `match`, `and`, `with` …) and could not be told from "
        "a name. They may still be fields of records, keys and arguments.",
        bad="let match = 1\n\n" + _PING + "flow main { ping(1) }\n",
        good="let matched = 1\n\n" + _PING + "flow main { ping(matched) }\n",
    ),
    Entry(
        code="FL0115",
        name="wrong-separator",
        message="`{found}` stands where `{right}` belongs",
        help="`:` describes (settings, fields, arguments, types), `=` produces (bindings, declarations, defaults)",
        explanation="`:` and `=` are never interchangeable. `name: value` describes something: a setting, a field, an "
        "argument. `name = value` makes a value and gives it a name.",
        bad=_PING + "flow main { ping(n = 1) }\n",
        good=_PING + "flow main { ping(n: 1) }\n",
    ),
    Entry(
        code="FL0116",
        name="foreign-syntax",
        message="`{found}` is not part of the language",
        help="see the reference",
        explanation="This is how other languages write it. The help says what it is called here.",
        bad=_PING + "flow main { if true && false { ping(1) } }\n",
        good=_PING + "flow main { if true and false { ping(1) } }\n",
    ),
    Entry(
        code="FL0117",
        name="word-without-partner",
        message="`{word}` has no {partner} before it",
        help="see the reference",
        explanation="`else` belongs to an `if`, `finally` to a `using`, `until` to a `repeat`, `catch` and `with` to a "
        "call.",
        bad=_PING + "flow main {\n  ping(1)\n  else { ping(2) }\n}\n",
        good=_PING + "flow main {\n  if true { ping(1) }\n  else { ping(2) }\n}\n",
    ),
    Entry(
        code="FL0118",
        name="missing-value",
        message="a {what} is missing after `{before}`",
        help="write the {what}, or delete `{before}`",
        explanation="An operator, `=`, `:`, `->` or a keyword such as `return` is followed by a value.",
        bad=_PING + "flow main { x = }\n",
        good=_PING + "flow main { x = ping(1) }\n",
    ),
    Entry(
        code="FL0119",
        name="missing-block",
        message="the block of `{what}` is missing",
        help="write it in braces on the same line: `{{ … }}`",
        explanation="`task`, `flow`, `if`, `each` and other constructs need a block. Its opening brace stands on the "
        "line of the construct.",
        bad=_PING + "flow main\n",
        good=_PING + "flow main { ping(1) }\n",
    ),
    Entry(
        code="FL0120",
        name="missing-comma",
        message="a comma is missing before `{word}`",
        help="entries are separated by commas or, in braces, by line ends",
        explanation="Arguments and items of a list are separated by commas; entries in braces by commas or line ends.",
        bad=_PING + "flow main { x = [1 2] }\n",
        good=_PING + "flow main { x = [1, 2] }\n",
    ),
    Entry(
        code="FL0121",
        name="missing-line-end",
        message="`{word}` begins a new statement in the middle of a line",
        help="begin a new line; or if it belongs to what stands before, an operator or a comma is missing",
        explanation="There is one statement a line. A line goes on after an operator, a comma or an open bracket, and "
        "where the next one begins with `->`, `.name`, `with`, `after`, `catch`, `and` or `or`.",
        bad=_PING + "flow main { x = ping(1) ping(2) }\n",
        good=_PING + "flow main {\n  x = ping(1)\n  ping(2)\n}\n",
    ),
    Entry(
        code="FL0122",
        name="empty-import",
        message="nothing is imported",
        help="name what is imported, as in `use std.http {{ get }}`, or delete the line",
        explanation="`use` imports the declarations that it names. There is no import of everything.",
        bad="use std.http { }\n\n" + _PING + "flow main { ping(1) }\n",
        good='use std.http { get }\n\nflow main { get("https://example.com") }\n',
    ),
    Entry(
        code="FL0123",
        name="duplicate-modifier",
        message="`{modifier}` is given twice for one step",
        help="put both into one",
        explanation="`with`, `after` and `catch` and each `on …` follow a stage at most once, in any order.",
        bad=_PING + "flow main { x = ping(1) with { timeout: 1m } with { priority: 1 } }\n",
        good=_PING + "flow main { x = ping(1) with { timeout: 1m, priority: 1 } }\n",
    ),
    Entry(
        code="FL0124",
        name="chained-comparison",
        message="comparisons cannot be chained",
        help="write `a < b and b < c`",
        explanation="`a < b < c` compares the result of `a < b`, which is true or false, with `c`. It is refused.",
        bad=_PING + "flow main(n: int) { if 1 < n < 5 { ping(n) } }\n",
        good=_PING + "flow main(n: int) { if 1 < n and n < 5 { ping(n) } }\n",
    ),
    Entry(
        code="FL0125",
        name="assignment-in-expression",
        message="`=` gives a name to a value and cannot stand in an expression",
        help="compare with `==`",
        explanation="`name = value` is a statement. In conditions, `==` compares.",
        bad=_PING + "flow main(n: int) { if n = 5 { ping(n) } }\n",
        good=_PING + "flow main(n: int) { if n == 5 { ping(n) } }\n",
    ),
    Entry(
        code="FL0126",
        name="missing-type",
        message="the type of `{name}` is missing",
        help="write `{name}: string`, `{name}: int` or the like",
        explanation="Parameters and fields have types. They are checked across the whole flow.",
        bad="task ping(n) { " + _RUN + " }\n\nflow main { ping(1) }\n",
        good="task ping(n: int) { " + _RUN + " }\n\nflow main { ping(1) }\n",
    ),
    Entry(
        code="FL0127",
        name="misplaced-statement",
        message="statements stand in a flow, not at the top of a file",
        help="put it into the braces of a flow",
        explanation="At the top level stand declarations: `use`, `type`, `let`, `var`, `task`, `flow`, resources and "
        "tests. Steps and settings belong into a flow.",
        bad=_PING + "x = ping(1)\n",
        good=_PING + "flow main { x = ping(1) }\n",
    ),
    Entry(
        code="FL0128",
        name="misplaced-declaration",
        message="`{word}` declares something and stands at the top of a file, not in a block",
        help="move it out of the braces",
        explanation="Declarations have no nesting: tasks, types and resources stand at the top level, in any order.",
        bad="flow main {\n  let n = 1\n}\n",
        good="let n = 1\n\n" + _PING + "flow main { ping(n) }\n",
    ),
    Entry(
        code="FL0129",
        name="interpolation-not-possible",
        message="this text is read before anything runs and cannot contain values",
        help="write plain text without `${{…}}`",
        explanation="Paths of imports, titles of tests and literal types are fixed texts.",
        bad='use "lib/${name}.flow" { a }\n\nflow main { a() }\n',
        good='use std.http { get }\n\nflow main { get("https://example.com") }\n',
    ),
    Entry(
        code="FL0130",
        name="brace-on-own-line",
        message="the block begins on the next line",
        help="put `{{` at the end of the line before",
        explanation="A line end ends a statement. The opening brace stands on the line of the construct that it belongs "
        "to.",
        bad=_PING + "flow main(n: int) {\n  if n > 1\n  {\n    ping(n)\n  }\n}\n",
        good=_PING + "flow main(n: int) {\n  if n > 1 {\n    ping(n)\n  }\n}\n",
    ),
)
