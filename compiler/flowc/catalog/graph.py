"""Findings: steps, rules and the shape of the graph."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'
_ADD = 'task add(a: int, b: int) returns int { run: shell("expr ${a} + ${b}") }\n'
_UNDO = (
    'task release(x: int) { run: shell("echo ${x}") }\n'
    'task book(x: int) returns int { run: shell("echo ${x}"), undo: release(result) }\n'
)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0302",
        name="used-before-bound",
        message="`{name}` is used before it is bound",
        help="move the statement that binds `{name}` up, before this one",
        explanation="Statements are written in an order in which they could run: a step stands after what it uses.",
        bad=_ONE + "\nflow main returns int {\n  b = number(a)\n  a = number(1)\n  return b\n}\n",
        good=_ONE + "\nflow main returns int {\n  a = number(1)\n  b = number(a)\n  return b\n}\n",
    ),
    Entry(
        code="FL0303",
        name="unreachable-step",
        message="this never runs: the block has returned",
        help="put it before the `return`, or remove it",
        explanation="`return` stands last in its block.",
        bad=_ONE + "\nflow main returns int {\n  return number(1)\n  number(2)\n}\n",
        good=_ONE + "\nflow main returns int {\n  number(2)\n  return number(1)\n}\n",
    ),
    Entry(
        code="FL0304",
        name="return-on-some-paths",
        message="this returns on some paths only: {missing}",
        help="let every path end with `return`, or none: bind a name in the arms and return it afterwards",
        explanation="A value that exists on some paths only would make the result of the flow depend on luck.",
        bad=_ONE + "\nflow main(n: int = 1) returns int {\n  if n > 1 {\n    return number(n)\n  }\n}\n",
        good=_ONE + "\nflow main(n: int = 1) returns int {\n  if n > 1 {\n    return number(n)\n  } else {\n"
        "    return 0\n  }\n}\n",
    ),
    Entry(
        code="FL0305",
        name="constant-condition",
        severity="warning",
        message="the condition is always {value}",
        help="remove the branch, or test a value of the run",
        explanation="One of the arms never runs, whatever the input.",
        bad=_ONE + "\nflow main {\n  if 1 > 2 { number(1) }\n}\n",
        good=_ONE + "\nflow main(n: int = 1) {\n  if n > 2 { number(1) }\n}\n",
    ),
    Entry(
        code="FL0306",
        name="bad-rule",
        message="{problem}",
        help="{hint}",
        explanation="`after` takes names of steps, lists of them, or a rule over them, as `done([a, b])`. Rules are "
        "joined with `and`.",
        bad=_ONE + "\nflow main {\n  a = number(1)\n  number(2) after finished(a)\n}\n",
        good=_ONE + "\nflow main {\n  a = number(1)\n  number(2) after done(a)\n}\n",
    ),
    Entry(
        code="FL0307",
        name="rule-never-true",
        message="`{rule}` never holds: {why}",
        help="lower the number, or name more steps",
        explanation="A step behind a rule that cannot hold is always skipped.",
        bad=_ONE + "\nflow main {\n  a = number(1)\n  b = number(2)\n  number(3) after at_least(3, [a, b])\n}\n",
        good=_ONE + "\nflow main {\n  a = number(1)\n  b = number(2)\n  number(3) after at_least(2, [a, b])\n}\n",
    ),
    Entry(
        code="FL0308",
        name="join-never-ends",
        message="the group has {count} members and `join` waits for {n}",
        help="lower `join`, or add members",
        explanation="A join of n ends when n members succeeded. It can never be reached with fewer members.",
        bad=_ONE + "\nflow main returns list<int> { return [number(1), number(2)] with { join: 3 } }\n",
        good=_ONE + "\nflow main returns list<int> { return [number(1), number(2)] with { join: 2 } }\n",
    ),
    Entry(
        code="FL0309",
        name="bad-stage",
        message="`{name}` {problem}, so the value from the left has no clear place",
        help="{hint}",
        explanation="A bare name in a chain takes the value from the left for its only required parameter. With more "
        "than one, `_` says where it goes.",
        bad=_ONE + _ADD + "\nflow main returns int { return number(1) -> add }\n",
        good=_ONE + _ADD + "\nflow main returns int { return number(1) -> add(_, 2) }\n",
    ),
    Entry(
        code="FL0310",
        name="value-not-passed",
        message="no value is passed to {stage}",
        help="write `_` where the value from the left goes; to wait without it, use `after`",
        explanation="`a -> b` passes the value of a to b. A stage with parentheses says where, with `_`.",
        bad=_ONE + _ADD + "\nflow main returns int { return number(1) -> add(1, 2) }\n",
        good=_ONE + _ADD + "\nflow main returns int { return number(1) -> add(_, 2) }\n",
    ),
    Entry(
        code="FL0311",
        name="misplaced-placeholder",
        message="`_` stands for the value from the left of `->`, and there is none here",
        help="name the value, or write a chain `a(x) -> b(_, 2)`",
        explanation="`_` is the left value inside a stage of a chain, and the last round inside `repeat`.",
        bad=_ONE + "\nflow main returns int { return number(_) }\n",
        good=_ONE + "\nflow main returns int { return number(1) -> number(_) }\n",
    ),
    Entry(
        code="FL0312",
        name="modifier-without-step",
        message="`{word}` stands behind an expression that makes no step",
        help="put it behind a call",
        explanation="Settings and handlers belong to steps. A pure expression has none.",
        bad="flow main(n: int = 1) returns int {\n  x = n + 1 with { timeout: 1m }\n  return x\n}\n",
        good=_ONE + "\nflow main(n: int = 1) returns int {\n  x = number(n + 1) with { timeout: 1m }\n  return x\n}\n",
    ),
    Entry(
        code="FL0313",
        name="misplaced-construct",
        message="{what} cannot stand here",
        help="it stands {where}",
        explanation="Settings, triggers and handlers stand at the head of a flow, never inside an arm; a task has "
        "settings only; `mock` and `expect` belong to tests.",
        bad=_ONE + "\nflow main(n: int = 1) {\n  if n > 1 {\n    timeout: 1h\n    number(n)\n  }\n}\n",
        good=_ONE + "\nflow main(n: int = 1) {\n  timeout: 1h\n  if n > 1 {\n    number(n)\n  }\n}\n",
    ),
    Entry(
        code="FL0314",
        name="unused-output",
        severity="warning",
        message="the value of {what} is not used",
        help="{hint}",
        explanation="A value that is computed and dropped is a mistake more often than not. A call that is bound and "
        "not used is no finding: the binding names its step.",
        bad=_ONE + "\nflow main(n: int = 1) returns int {\n  twice = n * 2\n  return number(n)\n}\n",
        good=_ONE + "\nflow main(n: int = 1) returns int {\n  twice = n * 2\n  return number(twice)\n}\n",
    ),
    Entry(
        code="FL0315",
        name="unused-input",
        severity="warning",
        message="`{name}` is not used by {owner}",
        help="use it, or remove the parameter",
        explanation="Whoever calls it must give a value that has no effect.",
        bad=_ONE + "\nflow main(n: int = 1, m: int = 2) returns int { return number(n) }\n",
        good=_ONE + "\nflow main(n: int = 1) returns int { return number(n) }\n",
    ),
    Entry(
        code="FL0316",
        name="undo-never-runs",
        severity="warning",
        message="`undo` of `{name}` never runs: no flow that calls it compensates",
        help='add `on_failure: "compensate"` at the head of the flow, or remove `undo`',
        explanation="What a task did is taken back when a flow around the call has failed and says `on_failure: "
        '"compensate"`. Here none does.',
        bad=_UNDO + "\nflow main returns int { return book(1) }\n",
        good=_UNDO + '\nflow main returns int {\n  on_failure: "compensate"\n  return book(1)\n}\n',
    ),
)
