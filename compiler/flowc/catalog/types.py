"""Findings: types and signatures."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'
_SAY = 'task say(text: string) returns string { run: shell("echo ${text}") }\n'
_DROP = 'task drop(x: int) { run: shell("echo ${x}") }\n'

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0401",
        name="type-mismatch",
        message="{consumer} takes {expected}, but {producer} is {found}{detail}",
        help="pass a value of that type, or change one of the two declarations",
        explanation="Every argument is checked across the whole flow when it is compiled, and again at the worker. "
        "The message names who takes the value, who gives it, and the first field in which the two part.",
        bad=_SAY + _ONE + '\nflow main returns int {\n  greeting = say("hi")\n  return number(greeting)\n}\n',
        good=_SAY + _ONE + '\nflow main returns int {\n  greeting = say("hi")\n  return number(int(greeting))\n}\n',
    ),
    Entry(
        code="FL0402",
        name="unknown-argument",
        message="`{callee}` has no parameter `{name}`",
        help="{hint}",
        explanation="Arguments are given by position, or by the name of a declared parameter.",
        bad=_ONE + "\nflow main returns int { return number(y: 1) }\n",
        good=_ONE + "\nflow main returns int { return number(x: 1) }\n",
    ),
    Entry(
        code="FL0403",
        name="missing-argument",
        message="`{callee}` needs the argument{plural} {names}",
        help="add `{example}`",
        explanation="Every parameter without a default, and whose type is not optional, must be given.",
        bad=_ONE + "\nflow main returns int { return number() }\n",
        good=_ONE + "\nflow main returns int { return number(1) }\n",
    ),
    Entry(
        code="FL0404",
        name="too-many-arguments",
        message="`{callee}` takes {limit} arguments at most",
        help="{hint}",
        explanation="More values are given by position than there are parameters.",
        bad=_ONE + "\nflow main returns int { return number(1, 2) }\n",
        good=_ONE + "\nflow main returns int { return number(1) }\n",
    ),
    Entry(
        code="FL0405",
        name="optional-not-handled",
        message="{consumer} takes {expected}, but {producer} is {found} and may be null",
        help="give a default with `??`, or handle null with `if … != null`",
        explanation="A value of type `T?` may be missing: an optional field or parameter, or a name that only one arm "
        "of an `if` binds. It must be handled before it is used as `T`.",
        bad=_SAY + "\nflow main(note: string? = null) returns string { return say(note) }\n",
        good=_SAY + '\nflow main(note: string? = null) returns string { return say(note ?? "none") }\n',
    ),
    Entry(
        code="FL0406",
        name="non-exhaustive-match",
        message="`match` over {subject} has no {missing}",
        help="add an arm for it, or `else: …`",
        explanation="A `match` takes exactly one arm. Every value of a union has its arm, or there is an `else`; "
        "so a new value of the union is not forgotten in silence.",
        bad='flow main(region: "eu" | "us" = "eu") returns int {\n  return match region {\n    "eu": 1\n  }\n}\n',
        good='flow main(region: "eu" | "us" = "eu") returns int {\n'
        '  return match region {\n    "eu": 1\n    "us": 2\n  }\n}\n',
    ),
    Entry(
        code="FL0407",
        name="impossible-arm",
        message="the arm `{value}` of `match` over {subject} never applies",
        help="{hint}",
        explanation="The value is none that the subject can have, or an arm before takes it.",
        bad='flow main(region: "eu" | "us" = "eu") returns int {\n'
        '  return match region {\n    "eu": 1\n    "uk": 2\n    else: 3\n  }\n}\n',
        good='flow main(region: "eu" | "us" = "eu") returns int {\n'
        '  return match region {\n    "eu": 1\n    "us": 2\n  }\n}\n',
    ),
    Entry(
        code="FL0408",
        name="return-type-mismatch",
        message="{consumer} is declared as {expected}, but {producer} is {found}{detail}",
        help="return a value of that type, or change `returns`",
        explanation="What a flow or a composite returns must fit its `returns`, since callers rely on it.",
        bad=_SAY + '\nflow main returns int { return say("1") }\n',
        good=_SAY + '\nflow main returns string { return say("1") }\n',
    ),
    Entry(
        code="FL0409",
        name="missing-return",
        message="{what} returns no value",
        help="{hint}",
        explanation="What says `returns` must return on every path; `until` reads what the body of `repeat` returns.",
        bad=_ONE + "\nflow main returns int { x = number(1) }\n",
        good=_ONE + "\nflow main returns int { return number(1) }\n",
    ),
    Entry(
        code="FL0410",
        name="undeclared-result",
        message="{what} has no declared type",
        help="{hint}",
        explanation="A flow that returns a value says so in its head: callers, the command line and the history rely "
        "on it.",
        bad=_ONE + "\nflow main { return number(1) }\n",
        good=_ONE + "\nflow main returns int { return number(1) }\n",
    ),
    Entry(
        code="FL0411",
        name="signature-mismatch",
        message="the Python function `{function}` ({where}) does not fit the task `{task}`: {problem}",
        help="{hint}",
        explanation="A task that names a Python function repeats its signature. The compiler reads the function's own "
        "from the source, without running it, and compares the two: names of parameters, which must be given, types.",
        bad='task dedent(line: string) returns string { run: python("textwrap:dedent") }\n\n'
        'flow main returns string { return dedent("  a") }\n',
        good='task dedent(text: string) returns string { run: python("textwrap:dedent") }\n\n'
        'flow main returns string { return dedent("  a") }\n',
    ),
    Entry(
        code="FL0412",
        name="unknown-python",
        message="there is no {what}",
        help="{hint}",
        explanation='`python("module:function")` names what a worker imports. It must be there when the flow is '
        "compiled, so that a misspelt name is found at the desk.",
        bad='task dedent(text: string) returns string { run: python("textwrap:dedant") }\n\n'
        'flow main returns string { return dedent("  a") }\n',
        good='task dedent(text: string) returns string { run: python("textwrap:dedent") }\n\n'
        'flow main returns string { return dedent("  a") }\n',
    ),
    Entry(
        code="FL0413",
        name="no-value",
        message="{what}, so there is no value to use",
        help="declare `returns`, or wait for it with `after` instead of using it",
        explanation="A task without `returns`, and an `each` without `return`, can be waited for, but gives nothing.",
        bad=_DROP + _ONE + "\nflow main returns int {\n  x = drop(1)\n  return number(x)\n}\n",
        good=_DROP + _ONE + "\nflow main returns int {\n  x = drop(1)\n  return number(1) after x\n}\n",
    ),
    Entry(
        code="FL0414",
        name="unknown-field",
        message="{type} has no field `{name}`",
        help="{hint}",
        explanation="The fields of a record are known when the flow is compiled.",
        bad="flow main(order: { id: string, qty: int }) returns int { return order.quantity }\n",
        good="flow main(order: { id: string, qty: int }) returns int { return order.qty }\n",
    ),
    Entry(
        code="FL0415",
        name="bad-operand",
        message="`{op}` does not work with {found}",
        help="{hint}",
        explanation="Operators take values that go together: numbers with numbers, texts with texts, a date and a "
        "duration. Nothing is converted in silence.",
        bad='flow main(n: int = 1) returns string { return "n is " + n }\n',
        good='flow main(n: int = 1) returns string { return "n is ${n}" }\n',
    ),
    Entry(
        code="FL0416",
        name="condition-not-bool",
        message="{what} must be bool, but it is {found}",
        help="",
        explanation="There is no truth of numbers, texts or lists: a condition says what it asks for.",
        bad=_ONE + "\nflow main(n: int = 1) { if n { number(n) } }\n",
        good=_ONE + "\nflow main(n: int = 1) { if n != 0 { number(n) } }\n",
    ),
    Entry(
        code="FL0417",
        name="bad-call",
        message="`{name}` cannot be called like this: {problem}",
        help="it is called as `{usage}`",
        explanation="The pure functions of the language check the number and the types of their arguments.",
        bad="flow main(n: int = 1) returns int { return len(n) }\n",
        good="flow main(xs: list<int> = [1]) returns int { return len(xs) }\n",
    ),
    Entry(
        code="FL0418",
        name="bad-pattern",
        message="the pattern does not fit: {problem}",
        help="{hint}",
        explanation="`(a, b)` takes an item apart, as the items of `zip`, `cross` and the pairs of a map.",
        bad=_ONE + "\nflow main(xs: list<int> = [1]) { each (a, b) in xs { number(a + b) } }\n",
        good=_ONE + "\nflow main(xs: list<int> = [1]) { each (a, b) in zip(xs, xs) { number(a + b) } }\n",
    ),
    Entry(
        code="FL0419",
        name="bad-type",
        message="{problem}",
        help="{hint}",
        explanation="`list<T>`, `map<T>` and `secret<T>` take one type; fields and literals of a type are distinct.",
        bad="flow main(m: map<string, int>) returns int { return len(m) }\n",
        good="flow main(m: map<int>) returns int { return len(m) }\n",
    ),
    Entry(
        code="FL0420",
        name="call-not-allowed",
        message="a task cannot be called in {where}",
        help="{hint}",
        explanation="A call becomes a step of the graph. Where an expression may not be evaluated at all, or many "
        "times, that step would have no place: bind the call first, or use the construct that runs steps.",
        bad=_ONE + "\nflow main(xs: list<int> = [1]) returns list<int> { return [number(x) for x in xs] }\n",
        good=_ONE + "\nflow main(xs: list<int> = [1]) returns list<int> { return each x in xs { return number(x) } }\n",
    ),
    Entry(
        code="FL0421",
        name="not-constant",
        message="{what} must be constant, and `{name}` is known only when the flow runs",
        help="use a literal, or a constant declared with `let`",
        explanation="Settings and defaults of tasks are worked out by the compiler.",
        bad=_ONE + "\nflow main(n: int = 3) returns int { return number(1) with { retry: n } }\n",
        good=_ONE + "\nlet n = 3\n\nflow main returns int { return number(1) with { retry: n } }\n",
    ),
    Entry(
        code="FL0422",
        name="unserialisable-output",
        message="`{name}` returns `{python}`, which has no `.flow` type ({where})",
        help="return a list, a dict, a dataclass or a plain value; write a table to a file and return its path",
        explanation="Results travel between processes as msgpack. Generators, open files, connections and data frames "
        "cannot.",
        bad='task transform() returns json { run: python("typing:dataclass_transform") }\n\n'
        "flow main returns json { return transform() }\n",
        good='task dedent(text: string) returns string { run: python("textwrap:dedent") }\n\n'
        'flow main returns string { return dedent("  a") }\n',
    ),
)
