"""Random programs, as text: what a user could have written, using every construct that the engine runs.

`programs()` is a hypothesis strategy. A program is well-typed by construction: every name is remembered with its type
and where it can be used. Its tasks are those of `behaviours`, whose file must lie in the project's root; its flow
`main` takes `n: int` and returns json.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from .behaviours import DECLARATIONS

__all__ = ["BEHAVIOURS", "Source", "programs", "write_program"]

#: the file that a project of random programs needs in its root
BEHAVIOURS = Path(__file__).with_name("behaviours.py")

T = TypeVar("T")

SHARED = """
pool narrow { slots: 2 }
chain twice(x: int) returns int = inc(x) -> inc
chain shaky(x: int) returns int = add(x, 1) -> risky
group both(x: int) = [inc(x), moody(x)]
chord summed(x: int) returns int = [inc(x), add(x, 2)] -> total
flow down(n: int) returns int {
  max_depth: 3
  x = if n % 6 > 0 then down(n % 6 - 1) else reserve(n)
  return x + 1
}
"""

#: calls by what they return; `i`, `s`, `xs`, `r` and `o` stand for arguments
_CALLS = {
    "int": [
        "inc(i)", "inc(i)", "add(i, i)", "pick(i, o)", "risky(i)", "risky(i)", "flaky(i)", "moody(i)", "wrong(i)",
        "broken(i)", "total(xs)", "size(s)", "unrow(r)", "twice(i)", "shaky(i)", "summed(i)", "inc(c)", "pick(i, c)",
        "reserve(i)", "lend(i)", "guarded(i)", "down(i)", "detour(i)", "kept(i)", "gathered(i)",
        "spread(i)",
    ],
    "string": ["name(i)", "name(c)"],
    "ints": ["make(i)", "make(c)"],
    "row": ["row(i, s)", "row(c, s)"],
}  # fmt: skip
#: how calls begin that are more than one step
_COMPOSITES = ("[", "twice", "shaky", "summed", "both")
#: stages of a chain of ints
_STAGES = ["inc", "risky", "moody", "flaky", "add(_, i)", "pick(_)", "pick(i, _)", "wrong", "twice"]
_RULES_OF_ONE = ["", "ok", "done", "failed", "none_failed", "skipped", "none_skipped", "always", "any_ok",
                 "any_failed", "any_done", "done_any_ok"]  # fmt: skip
_RULES_OF_SOME = [
    "ok", "failed", "done", "any_ok", "any_failed", "any_done", "none_failed", "none_failed_any_ok", "none_skipped",
    "skipped", "done_any_ok",
]  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A random program."""

    text: str
    #: the arguments of its flow `main`
    args: dict[str, Any]


@dataclass(frozen=True)
class Name:
    """A name that can be read."""

    name: str
    #: int, string, ints, row, int?, collected, counted; other: no expression reads it
    kind: str
    #: `after` can wait for it
    is_step: bool = False


@dataclass
class Names:
    """What can be read in a block. `local` ones stand in no enclosing loop."""

    visible: list[Name]
    #: how many of `visible` come from outside of the loop around
    outer: int = 0
    #: the steps here have one life: whoever wants to say something to one knows its name
    is_once: bool = True

    def inner(self, *, is_loop: bool = False, is_round: bool = False) -> Names:
        is_loop = is_loop or is_round
        return Names(list(self.visible), len(self.visible) if is_loop else self.outer, self.is_once and not is_round)

    def of(self, kind: str) -> list[str]:
        return [name.name for name in self.visible if name.kind == kind]

    def steps(self) -> list[Name]:
        return [name for name in self.visible[self.outer :] if name.is_step]


@dataclass
class Writer:
    """Writes one program; `integer(low, high)` makes every choice."""

    integer: Callable[[int, int], int]
    #: statements that may still be written
    left: int = 14
    #: flows that can be called
    children: list[str] = field(default_factory=list)
    #: numbers of attempts, which crashes change, may make a difference
    counts: bool = True
    #: it may wait for the world
    waits: bool = True
    _count: int = 0

    # ---- choices

    def number(self, low: int, high: int) -> int:
        return self.integer(low, high)

    def one_of(self, options: list[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.number(1, 100) > 100 - percent

    def attempts_of(self, failure: str) -> str:
        """A number that tells something of a failure."""
        return f"{failure}.attempts" if self.counts else f"len({failure}.step)"

    def counted(self, code: str) -> str:
        """The code, or the like that counts no attempts."""
        return code if self.counts else code.replace("flaky", "moody")

    def fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    # ---- expressions without calls

    def int(self, names: Names, depth: int = 0) -> str:
        variables = names.of("int")
        options = [lambda: str(self.number(0, 9))]
        if variables:
            options += [lambda: self.one_of(variables)] * 4
        if names.of("int?"):
            options.append(lambda: f"({self.one_of(names.of('int?'))} ?? {self.number(0, 9)})")
        if len(variables) > 1:
            options.append(lambda: f"({self.one_of(variables[1:])} ?? {self.number(0, 9)})")
        for kind in ("ints", "collected", "string"):
            if names.of(kind):
                options.append(lambda kind=kind: f"len({self.one_of(names.of(kind))})")
        if names.of("row"):
            options.append(lambda: f"{self.one_of(names.of('row'))}.a")
        if depth < 2:
            options.append(
                lambda: f"({self.int(names, depth + 1)} {self.one_of(['+', '-', '*'])} {self.int(names, depth + 1)})"
            )
            options.append(lambda: f"({self.int(names, depth + 1)} % {self.number(0 if self.chance(5) else 2, 5)})")
            options.append(
                lambda: f"(if {self.condition(names, depth + 1)} then {self.int(names, 2)} else {self.int(names, 2)})"
            )
        return self.one_of(options)()

    def string(self, names: Names) -> str:
        options = [lambda: f'"{self.one_of(["a", "bc", ""])}"', lambda: f'"x${{{self.int(names, 1)}}}"']
        if names.of("string"):
            options += [lambda: self.one_of(names.of("string"))] * 2
        if names.of("row"):
            options.append(lambda: f"{self.one_of(names.of('row'))}.b")
        return self.one_of(options)()

    def ints(self, names: Names) -> str:
        options = [lambda: f"[{', '.join(self.int(names, 1) for _ in range(self.number(1, 3)))}]"]
        known = names.of("ints")
        if known:
            options += [lambda: self.one_of(known)] * 3
            options.append(lambda: f"[x + {self.int(names, 2)} for x in {self.one_of(known)} if x % 2 == 0]")
            options.append(lambda: f"sorted({self.one_of(known)})")
        return self.one_of(options)()

    def condition(self, names: Names, depth: int = 0) -> str:
        """Never constant: it reads a variable."""
        variable = self.one_of(names.of("int"))
        options = [
            lambda: f"{variable} {self.one_of(['>', '<', '==', '!='])} {self.number(0, 9)}",
            lambda: f"{variable} % 2 == {self.number(0, 1)}",
        ]
        if names.of("ints"):
            options.append(lambda: f"{variable} in {self.one_of(names.of('ints'))}")
        if names.of("int?"):
            options.append(lambda: f"{self.one_of(names.of('int?'))} != null")
        if depth < 1:
            options.append(lambda: f"not ({self.condition(names, 1)})")
            options.append(
                lambda: f"({self.condition(names, 1)}) {self.one_of(['and', 'or'])} ({self.condition(names, 1)})"
            )
        return self.one_of(options)()

    # ---- calls

    def call(self, kind: str, names: Names, depth: int = 0) -> str:
        """A call that gives a value of this kind; its arguments may be calls."""
        options = list(_CALLS[kind])
        if kind == "int":
            options += [f"{child}(i)" for child in self.children] * 2
        template = self.counted(self.one_of(options))
        head, _, rest = template.partition("(")
        args = [self._argument(part.strip(), names, depth) for part in rest[:-1].split(",")]
        return f"{head}({', '.join(args)})"

    def _argument(self, part: str, names: Names, depth: int) -> str:
        match part:
            case "c":
                return self.call("int", names, depth + 1) if depth < 2 else self.int(names)
            case "s":
                return self.string(names)
            case "xs":
                return self.ints(names)
            case "r":
                known = names.of("row")
                return self.one_of(known) if known else f'{{ a: {self.int(names, 1)}, b: "k" }}'
            case "o":
                known = names.of("int?")
                return self.one_of(known) if known and self.chance(80) else self.int(names)
            case _:
                return self.int(names)

    def chain(self, names: Names) -> str:
        stages = [self.call("int", names)]
        for _ in range(self.number(1, 3)):
            stage = self.counted(self.one_of(_STAGES))
            stages.append(stage.replace("i)", f"{self.int(names, 1)})").replace("(i,", "(1,"))
        return " -> ".join(stages)

    def group(self, names: Names) -> str:
        return f"[{', '.join(self.call('int', names) for _ in range(self.number(1, 3)))}]"

    # ---- modifiers

    def modifiers(self, names: Names, indent: str, what: str, *, can_catch: bool) -> str:
        """What follows `what`. A call of a flow that holds a slot which its own steps need would wait for ever."""
        found: list[str] = []
        pools = [""] if what.startswith(("child", "down", "[")) else ["", ", pool: narrow", ", pool: narrow, slots: 2"]
        if self.chance(20):
            retry = f"retry: {{ max: {self.number(1, 3)}, backoff: fixed(1ms) }}"
            more = ["", "", ", priority: 9", ", deadline: 1h"]
            if what and not what.startswith(("child", "down", *_COMPOSITES)):
                more += [', idempotency_key: "k${n}"', ', delivery: "at_most_once"' if self.counts else ""]
            if what.startswith(("child", "down")):
                more.append(", timeout: 1h")
            found.append(f"with {{ {retry}{self.one_of(pools)}{self.one_of(more)} }}")
        after = self.after(names)
        if after:
            found.append(after)
        if can_catch and self.chance(25):
            found.append(self.catch(names, indent))
        elif self.chance(10):
            events = ["failure(e)", "success", "skip"]
            if what and not what.startswith(_COMPOSITES):
                events += ["retry(e)", "cancel"]
            event = self.one_of(events)
            argument = self.attempts_of("e") if "e)" in event else self.int(names, 1)
            found.append(f"on {event} {{ {self.one_of(['note', 'risky', 'inc'])}({argument}) }}")
        return "".join(f" {part}" for part in found)

    def after(self, names: Names) -> str:
        steps = names.steps()
        if not steps or not self.chance(25):
            return ""
        if self.chance(40):
            rule, step = self.one_of(_RULES_OF_ONE), self.one_of(steps).name
            return f"after {rule}({step})" if rule else f"after {step}"
        chosen = list({self.one_of(steps).name: None for _ in range(self.number(2, 3))})
        if self.chance(15):
            return f"after at_least({self.number(1, len(chosen))}, [{', '.join(chosen)}])"
        return f"after {self.one_of(_RULES_OF_SOME)}([{', '.join(chosen)}])"

    def catch(self, names: Names, indent: str) -> str:
        inner = names.inner()
        error = self.fresh()
        deeper = indent + "  "
        lines = self.statements(inner, deeper, self.number(0, 1))
        value = self.one_of([self.attempts_of(error), self.int(inner), self.call("int", inner)])
        return "\n".join([f"catch({error}) {{", *lines, f"{deeper}return {value}", f"{indent}}}"])

    # ---- statements

    def statements(self, names: Names, indent: str, count: int) -> list[str]:
        lines: list[str] = []
        for _ in range(count):
            if self.left > 0:
                self.left -= 1
                lines += self.statement(names, indent)
        return lines

    def statement(self, names: Names, indent: str) -> list[str]:
        simple = [self.bind_call, self.bind_call, self.bind_call, self.bind_value, self.bare_call, self.bind_group]
        simple += [self.bind_chain, self.bind_choice, self.bind_join]
        nested = [self.each, self.each, self.if_statement, self.if_statement, self.match_statement]
        nested += [self.using, self.repeat, self.match_blocks]
        simple += [self.detached, self.milestone, self.bind_named_join]
        if self.waits:
            simple += [self.nap, self.hear, self.hear, self.silence, self.either]
            simple += [self.ask] if names.is_once else []
        deep = len(indent) > 6
        return self.one_of(simple if deep else simple + nested)(names, indent)

    def bind_call(self, names: Names, indent: str) -> list[str]:
        kind = self.one_of(["int"] * 6 + ["string", "ints", "row"])
        call = self.call(kind, names)
        modifiers = self.modifiers(names, indent, call, can_catch=kind == "int")
        return self._bound(names, indent, kind, call + modifiers)

    def _bound(self, names: Names, indent: str, kind: str, value: str, *, is_step: bool = True) -> list[str]:
        name = self.fresh()
        names.visible.append(Name(name, kind, is_step=is_step))
        return [f"{indent}{name} = {value}"]

    def bind_value(self, names: Names, indent: str) -> list[str]:
        kind = self.one_of(["int", "int", "string", "ints"])
        write = {"int": self.int, "string": self.string, "ints": self.ints}[kind]
        return self._bound(names, indent, kind, write(names))

    def bind_chain(self, names: Names, indent: str) -> list[str]:
        chain = self.chain(names)
        return self._bound(names, indent, "int", chain + self.modifiers(names, indent, "", can_catch=True))

    def bind_group(self, names: Names, indent: str) -> list[str]:
        if self.chance(40):
            return self._bound(names, indent, "int", f"{self.group(names)} -> total")
        if self.chance(30):
            return self._bound(names, indent, "ints", f"both({self.int(names)})")
        group = self.group(names)
        return self._bound(names, indent, "ints", group + self.modifiers(names, indent, group, can_catch=False))

    def bind_join(self, names: Names, indent: str) -> list[str]:
        """Members that end alike, since they are the same call, and members that fail: so it does not matter which is
        the first."""
        call = self.call("int", names)
        members = [call] * self.number(1, 3)
        for _ in range(self.number(0, 2)):
            failing = self.one_of(["broken(1)", "broken(2) -> inc", "inc(broken(3))", "1 + broken(4)"])
            members.insert(self.number(0, len(members)), failing)
        rest = self.one_of(["", "", ", cancel_rest: true"])
        may_wait = not rest  # which members are left out depends on who was faster, and rules over members see that
        is_first = self.chance(50)
        by = '"first"' if is_first else self.number(1, len(members))
        group = f"[{', '.join(members)}] with {{ join: {by}{rest} }}"
        after = self.after(names)
        if is_first and self.chance(25):
            caught = f"({group} {after}) {self.catch(names, indent)}"
            return self._bound(names, indent, "int", caught, is_step=may_wait)
        return self._bound(names, indent, "int" if is_first else "ints", f"{group} {after}".rstrip(), is_step=may_wait)

    def bind_choice(self, names: Names, indent: str) -> list[str]:
        known = names.of("int?")
        if known and self.chance(50):
            other = self.call("int", names) if self.chance(60) else self.int(names)
            return self._bound(names, indent, "int", f"{self.one_of(known)} ?? {other}")
        then, otherwise = self.call("int", names), self.call("int", names)
        value = f"if {self.condition(names)} then {then} else {otherwise}"
        return self._bound(names, indent, "int", value)

    def bare_call(self, names: Names, indent: str) -> list[str]:
        call = f"note({self.int(names)})" if self.chance(60) else self.call("int", names)
        return [f"{indent}{call}{self.modifiers(names, indent, call, can_catch=False)}"]

    def if_statement(self, names: Names, indent: str) -> list[str]:
        """Binds a name in both arms, in one of them, or in none."""
        shared, arms = self.fresh(), self.number(1, 2)
        binds = [self.chance(70) for _ in range(arms)]
        lines = [f"{indent}if {self.condition(names)} {{"]
        for number, bind in enumerate(binds):
            if number:
                lines.append(f"{indent}}} else {{")
            inner = names.inner()
            lines += self.statements(inner, indent + "  ", self.number(0, 2))
            if bind:
                value = self.call("int", inner) if self.chance(70) else self.int(inner)
                lines.append(f"{indent}  {shared} = {value}")
            elif lines[-1].endswith("{"):
                lines.append(f"{indent}  note({self.int(inner)})")
        lines.append(f"{indent}}}")
        if any(binds):
            kind = "int" if len(binds) == 2 and all(binds) else "int?"
            names.visible.append(Name(shared, kind, is_step=True))
        return lines

    def match_statement(self, names: Names, indent: str) -> list[str]:
        subject = f"{self.one_of(names.of('int'))} % 3"
        arms = [f"{indent}  {value}: {self.call('int', names)}" for value in range(self.number(1, 2))]
        otherwise = self.call("int", names) if self.chance(60) else self.int(names)
        head, *rest = self._bound(names, indent, "int", f"match {subject} {{")
        return [head, *rest, *arms, f"{indent}  else: {otherwise}", f"{indent}}}"]

    def each(self, names: Names, indent: str) -> list[str]:
        source, parts = self._source(names)
        variables = [self.fresh() for _ in parts]
        inner = names.inner(is_loop=True)
        inner.visible += [Name(name, kind) for name, kind in zip(variables, parts, strict=True)]
        pattern = variables[0] if len(variables) == 1 else f"({', '.join(variables)})"
        on_error = self.one_of(["fail", "collect", "skip"])
        after = self.after(names)
        body = self.statements(inner, indent + "  ", self.number(0, 2))
        returns = self.chance(80)
        if returns:
            result = self.call("int", inner) if self.chance(70) else self.int(inner)
            retry = " with { retry: { max: 1, backoff: fixed(1ms) } }" if "(" in result[:9] and self.chance(15) else ""
            retry = retry if result[0].isalpha() and result.endswith(")") and not result.startswith("len") else ""
            body.append(f"{indent}  return {result}{retry}")
        elif not body:
            body.append(f"{indent}  note({self.int(inner)})")
        limits = self.one_of(["", ", concurrency: 2"])
        head = f'each {pattern} in {source} with {{ max: 100, on_error: "{on_error}"{limits} }} {{'
        tail = f"{indent}}} {after}".rstrip()
        if not returns:
            return [f"{indent}{head}", *body, tail]
        if on_error != "collect" and self.chance(15):
            error, value = self.fresh(), self.int(names, 1)
            [line] = self._bound(names, indent, "ints", f"({head}")
            return [line, *body, f"{indent}}}) catch({error}) {{ return [{self.attempts_of(error)}, {value}] }}"]
        kind = "collected" if on_error == "collect" else "ints"
        return [*self._bound(names, indent, kind, head), *body, tail]

    def using(self, names: Names, indent: str) -> list[str]:
        resource, inner = self.fresh(), names.inner()
        inner.visible.append(Name(resource, "int"))
        body = self.statements(inner, indent + "  ", self.number(0, 2))
        cleanup = self.one_of(["note", "risky", "inc"])
        return [
            f"{indent}using {resource} = {self.call('int', names)} {{",
            *(body or [f"{indent}  note({resource})"]),
            f"{indent}}} finally {{",
            f"{indent}  {cleanup}({resource})",
            f"{indent}}}",
        ]

    def repeat(self, names: Names, indent: str) -> list[str]:
        """Rounds that count up, and maybe not far enough."""
        inner = names.inner(is_round=True)
        body = self.statements(inner, indent + "  ", self.number(0, 1))
        limit = self.number(1, 3)
        is_caught = self.chance(25)
        opening = "(" * is_caught + f"repeat with {{ every: 1ms, max: {self.number(1, 3)} }} {{"
        head, *_ = self._bound(names, indent, "counted", opening)
        end = f"{indent}}} until int(_) >= {limit}" + ") catch(e) { return 0 }" * is_caught
        return [head, *body, f"{indent}  return add(int(_ ?? 0), 1)", end]

    # ---- waiting

    def _question(self, names: Names) -> str:
        """The name of what is waited for: one of its own, or one for each value of a variable."""
        variables, self._count = names.of("int"), self._count + 1
        part = f"-${{{self.one_of(variables)}}}" if variables and self.chance(40) else ""
        return f'"w{self._count}{part}"'

    def hear(self, names: Names, indent: str) -> list[str]:
        wait = f"{self.one_of(['answer', 'answer', 'happened'])}({self._question(names)})"
        if self.chance(20):
            wait = f"{self.one_of(['inc', 'risky'])}({wait})"
        rest = [self.after(names), self.catch(names, indent) if self.chance(15) else ""]
        return self._bound(names, indent, "int", " ".join([wait, *filter(None, rest)]))

    def silence(self, names: Names, indent: str) -> list[str]:
        wait = f'answer("never{self.number(1, 3)}") with {{ timeout: {self.number(1, 9)}ms }}'
        caught = self.catch(names, indent) if self.chance(80) else ""
        return self._bound(names, indent, "int", f"{wait} {caught}".rstrip())

    def nap(self, names: Names, indent: str) -> list[str]:
        return self._bound(names, indent, "other", f"nap({self.number(1, 9)}ms) {self.after(names)}".rstrip())

    def ask(self, names: Names, indent: str) -> list[str]:
        title, decision = self.one_of(["yes", "yes ${n}", "no"]), self.fresh()
        on_reject = self.one_of(["", ', on_reject: "return"', ', on_reject: "return"'])
        question = f'{indent}{decision} = asked("{title}"{on_reject}) {self.after(names)}'.rstrip()
        [line] = self._bound(names, indent, "int", f"if {decision}.approved then {self.call('int', names)} else 1")
        return [question, line]

    def either(self, names: Names, indent: str) -> list[str]:
        """An answer, or nothing for an hour."""
        self._count += 1
        members = [f'a: answer("w{self._count}")', "late: nap(1h)"]
        first, second = members if self.chance(50) else reversed(members)
        result = self.fresh()
        head = f'{result} = {{ {first}, {second} }} with {{ join: "first", cancel_rest: true }} {self.after(names)}'
        [line] = self._bound(names, indent, "int", f"({result}.a ?? 0) + (if {result}.late == null then 1 else 2)")
        return [f"{indent}{head}".rstrip(), line]

    # ---- what else does not follow from data

    def detached(self, names: Names, indent: str) -> list[str]:
        call = f"down({self.int(names)}) with {{ detached: true }}"
        if self.chance(50):
            return [f"{indent}{call} {self.after(names)}".rstrip()]
        return self._bound(names, indent, "other", f"{call} {self.after(names)}".rstrip())

    def milestone(self, names: Names, indent: str) -> list[str]:
        steps = names.steps()
        if not steps:
            return self.bare_call(names, indent)
        return [f"{indent}note({self.number(0, 9)}) after not_yet({self.one_of(steps).name})"]

    def bind_named_join(self, names: Names, indent: str) -> list[str]:
        """As many must succeed as do."""
        good = [self.one_of(["inc", "reserve", "twice"]) + f"({self.number(0, 9)})" for _ in range(self.number(1, 2))]
        members = [*good, *["broken(1)"] * self.number(0, 2)]
        keys = [f"m{place}" for place in range(len(members))]
        group = ", ".join(f"{key}: {member}" for key, member in zip(keys, members, strict=True))
        result = self.fresh()
        head = f"{indent}{result} = {{ {group} }} with {{ join: {len(good)} }} {self.after(names)}".rstrip()
        [line] = self._bound(names, indent, "int", " + ".join(f"({result}.{key} ?? 0)" for key in keys))
        return [head, line]

    def match_blocks(self, names: Names, indent: str) -> list[str]:
        subject = f"{self.one_of(names.of('int'))} % 3"
        arms = []
        for value in ("0", "else"):
            inner = names.inner()
            arms.append(f"{indent}  {value}: {{")
            arms += self.statements(inner, indent + "    ", self.number(0, 2))
            arms += [f"{indent}    return {self.call('int', inner)}", f"{indent}  }}"]
        return [*self._bound(names, indent, "int", f"match {subject} {{"), *arms, f"{indent}}}"]

    def _source(self, names: Names) -> tuple[str, list[str]]:
        """What is walked, and the kinds of the names of its items."""
        xs = self.ints(names)
        n = f"({self.one_of(names.of('int'))} % {self.number(2, 4)})"
        match self.number(0, 6):
            case 6:
                return f"table({self.int(names)})", ["string", "int"]
            case 0 | 1:
                return xs, ["int"]
            case 2:
                return f"range({n} + 1)", ["int"]
            case 3:
                return f"chunk({xs}, 2)", ["ints"]
            case 4:
                return f"zip({xs}, range({self.number(0, 4)}))", ["int", "int"]
            case _:
                return f"cross({xs}, range({n}))", ["int", "int"]

    # ---- flows

    def flow(self, name: str, count: int) -> str:
        names = Names([Name("n", "int")], is_once=name == "main")
        handlers = ['  on_failure: "compensate"'] if self.chance(30) else []
        if name != "main" and self.chance(25):  # it may call itself
            self.children.append(name)
            handlers.append("  max_depth: 2")
        lines = self.statements(names, "  ", count)
        if self.chance(40):
            used = self.one_of([self.attempts_of("e"), "n", "len(e.step)"])
            handlers.append(f"  on failure(e) {{ {self.one_of(['note', 'risky', 'moody'])}({used}) }}")
        if self.chance(10):
            handlers.append("  on cancel(c) { note(len(c.reason)) }")
        if self.chance(30):
            handlers.append(f"  on success(r) {{ note({self.one_of(['n', '1'])}) }}")
        if name == "main":
            shown = [seen for seen in names.visible[1:] if seen.kind != "other" and self.chance(40)][:6]
            result = f"{{ {', '.join(f'{seen.name}: {seen.name}' for seen in [names.visible[0], *shown])} }}"
        else:
            result = self.counted(self.one_of([*names.of("int"), "n + 1", "risky(n)", "flaky(n)", "moody(n)"]))
        returns = "json" if name == "main" else "int"
        body = "\n".join([*handlers, *lines, f"  return {result}"])
        return f"\nflow {name}(n: int) returns {returns} {{\n{body}\n}}\n"


@st.composite
def programs(draw: st.DrawFn, waits: bool = False) -> Source:
    """A program whose flow `main` takes `n`. If it `waits`, somebody must answer."""
    return write_program(lambda low, high: draw(st.integers(low, high)), waits=waits)


def write_program(
    integer: Callable[[int, int], int], most: int = 14, *, counts: bool = True, waits: bool = True
) -> Source:
    """The same from any source of integers, both bounds included; `main` has at most so many statements. Unless it
    `counts`, nothing in it depends on numbers of attempts."""
    writer = Writer(integer, counts=counts, waits=waits)
    flows: list[str] = []
    for number in range(writer.number(0, 2)):
        writer.left = 4
        flows.append(writer.flow(f"child{number}", writer.number(1, 3)))
        writer.children = list(dict.fromkeys([*writer.children, f"child{number}"]))
    writer.left = most
    flows.append(writer.flow("main", writer.number(1, min(most, 9))))
    return Source(DECLARATIONS + SHARED + "".join(flows), {"n": writer.number(0, 12)})
