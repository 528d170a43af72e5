"""Findings: names, imports and modules."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0201",
        name="unknown-name",
        message="there is no {kind} `{name}` here",
        help="{hint}",
        explanation="Every name is declared in the file, imported with `use`, a parameter, a binding of this block or "
        "of one around it, or a function of the language. Anything else is a mistake, most often of spelling.",
        bad='task greet(name: string) returns string { run: shell("echo ${name}") }\n\n'
        'flow hello returns string {\n  return gret("world")\n}\n',
        good='task greet(name: string) returns string { run: shell("echo ${name}") }\n\n'
        'flow hello returns string {\n  return greet("world")\n}\n',
    ),
    Entry(
        code="FL0202",
        name="duplicate-name",
        message="`{name}` is already {what}",
        help="give one of them another name",
        explanation="A name means one thing. Declarations and imports of a file share one space of names, and a "
        "binding is never assigned twice: a reader never has to ask which value is meant.",
        bad='pool api { slots: 2 }\nqueue api { priority: 3 }\n\ntask ping { run: shell("true"), pool: api }\n\n'
        "flow main { ping() }\n",
        good="pool api { slots: 2 }\nqueue api_calls { priority: 3 }\n\n"
        'task ping { run: shell("true"), pool: api, queue: api_calls }\n\nflow main { ping() }\n',
    ),
    Entry(
        code="FL0203",
        name="unknown-module",
        message="there is no {what} `{path}`",
        help="paths are relative to the file that says `use`; modules of packages are written `std.http`",
        explanation="`use` names a `.flow` or `.py` file, relative to the file that says it, or a module of an "
        "installed operator package, as `std.http`.",
        bad='use std.htpp { get }\n\nflow main { get("https://example.com") }\n',
        good='use std.http { get }\n\nflow main { get("https://example.com") }\n',
    ),
    Entry(
        code="FL0204",
        name="unknown-import",
        message="`{module}` declares no `{name}`",
        help="import it from the file that declares it",
        explanation="What `use` lists must be declared in that file itself. Names that a file imports are not handed "
        "on: import them from where they are declared.",
        bad='use std.http { gett }\n\nflow main { gett("https://example.com") }\n',
        good='use std.http { get }\n\nflow main { get("https://example.com") }\n',
    ),
    Entry(
        code="FL0205",
        name="shadows-builtin",
        message="`{name}` is {what} of the language",
        help="choose another name: `{name}` would mean two things",
        explanation="Functions such as `len` and `chunk`, the types, `run` and the rules of `after` keep their meaning "
        "in every file.",
        bad='task len(text: string) returns int { run: shell("wc -c ${text}") }\n\n'
        'flow main returns int { return len("x") }\n',
        good='task size_of(text: string) returns int { run: shell("wc -c ${text}") }\n\n'
        'flow main returns int { return size_of("x") }\n',
    ),
    Entry(
        code="FL0206",
        name="unused-import",
        severity="warning",
        message="`{name}` is imported and never used",
        help="remove it from the list",
        explanation="An import that nothing uses makes a reader look for its use, and ties two files together for "
        "nothing.",
        bad='use std.http { get, post }\n\nflow main { get("https://example.com") }\n',
        good='use std.http { get }\n\nflow main { get("https://example.com") }\n',
    ),
    Entry(
        code="FL0207",
        name="cycle",
        message="{what} depends on itself: {path}",
        help="break the circle at one of these places",
        explanation="Constants, types and composites are put in where they are used. What needs itself first can "
        "never be worked out.",
        bad="let first = second + 1\nlet second = first + 1\n\nflow main returns int { return first }\n",
        good="let first = 1\nlet second = first + 1\n\nflow main returns int { return second }\n",
    ),
    Entry(
        code="FL0208",
        name="recursive-flow",
        message="the flow calls itself: {path}",
        help="use `each` over a list or `repeat … until`; or bound it with `max_depth: 20` at the head of one of the "
        "flows",
        explanation="A flow that starts itself as a child has no bounded number of runs. What is done again and again "
        "is written with `each` or `repeat`, which both have limits. Where the data is a tree, a flow may call itself: "
        "`max_depth` says how deep, and what would go deeper fails as `TooDeep`.",
        bad="flow countdown(n: int) { again = n - 1\n  countdown(again)\n}\n",
        good='task tick(n: int) { run: shell("echo ${n}") }\n\n'
        "flow countdown(n: int) { each i in range(n) with { max: 100 } { tick(i) } }\n",
    ),
    Entry(
        code="FL0209",
        name="python-syntax",
        message="`{path}` is not valid Python: {problem} (line {line})",
        help="mend line {line} of `{path}`; the compiler reads its signatures without running it",
        explanation="Functions and classes of a Python file are read from its source. While that does not parse, "
        "nothing is known about them, and the task would fail on the worker.",
    ),
    Entry(
        code="FL0210",
        name="python-setting-not-literal",
        message="`{setting}` in `@task` of `{name}` is not a literal ({path}, line {line})",
        help='write the value itself, as `@task({setting}="5m")`, or set it in a `.flow` file',
        explanation="The settings in `@task(...)` are read without running the file. An expression there cannot be "
        "known before the program runs, and would be ignored.",
    ),
    Entry(
        code="FL0211",
        name="unused-suppression",
        severity="warning",
        message="`{name}` is not reported here: {why}",
        help="{hint}",
        explanation="`# flow: ignore[name] reason` on a line, or on the line before, silences one warning there. One "
        "that silences nothing hides the next warning of that name. Errors cannot be silenced.",
        bad='task ping { run: shell("true") }\n\nflow main {\n  ping() # flow: ignore[unused-import] not there\n}\n',
        good='task ping { run: shell("true") }\n\nflow main {\n  ping()\n}\n',
    ),
    Entry(
        code="FL0212",
        name="wrong-kind",
        message="`{name}` is {what}, and {wanted} is needed here",
        help="{hint}",
        explanation="A name stands for one kind of thing: a task is called, a pool is put into a setting, a type "
        "describes a parameter.",
    ),
)
