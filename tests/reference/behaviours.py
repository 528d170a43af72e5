"""The tasks that random programs call: ordinary Python functions, some of which fail, skip, or need several attempts.

What one does depends on its arguments and the number of its attempt only, so that a run and the interpreter see the
same. `TASKS` is the table for the interpreter; DECLARATIONS is how a program declares them, with the file beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypedDict

from flowrun.canvas import chain, chord, signature
from flowrun.operator import Context, Fail, Replace, Skip

__all__ = ["DECLARATIONS", "TASKS", "Instead"]


class Row(TypedDict):
    a: int
    b: str


def inc(x: int) -> int:
    return (x + 1) % 97


def add(x: int, y: int) -> int:
    return (x + y) % 97


def pick(x: int, y: int | None = None) -> int:
    """Takes a value that may be missing."""
    return x if y is None else y


def risky(x: int) -> int:
    """Fails for one number in three."""
    if x % 3 == 0:
        raise ValueError(f"{x} is a multiple of 3")
    return x + 1


def broken(x: int) -> int:
    """Fails always, and for good."""
    raise Fail(f"{x} is never right")


def flaky(x: int, ctx: Context) -> int:
    """Needs up to three attempts."""
    if ctx.attempt <= x % 3:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return x + ctx.attempt


def moody(x: int) -> int:
    """Ends as skipped for one number in three."""
    if x % 3 == 1:
        raise Skip
    return x + 2


def wrong(x: int) -> int:
    """Returns a string for one number in four, which its type forbids."""
    return str(x) if x % 4 == 0 else x  # type: ignore[return-value]


def make(n: int) -> list[int]:
    """Up to four numbers, maybe none."""
    return [n + i for i in range(n % 5)]


def total(xs: list[int]) -> int:
    return sum(xs) % 97


def name(x: int) -> str:
    return f"n{x}"


def size(s: str) -> int:
    return len(s)


def row(a: int, b: str) -> Row:
    return {"a": a, "b": b}


def unrow(r: Row) -> int:
    return r["a"] + len(r["b"])


def note(x: int) -> None:
    """Gives nothing."""


def table(n: int) -> dict[str, int]:
    """Up to three entries, maybe none."""
    return {f"k{i}": n + i for i in range(n % 4)}


def reserve(x: int) -> int:
    """Can be undone."""
    return (x + 3) % 97


def lend(x: int) -> int:
    """Can be undone, but for one number in three."""
    return (x + 4) % 97


def take_back(x: int, y: int) -> int:
    return risky(x + y)


def kept(x: int) -> int:
    """Its values are kept; it fails for one number in three."""
    return risky(x)


def gathered(x: list[int]) -> list[object]:
    """Many calls at once: each is told apart."""
    return [ValueError(f"{one} is a multiple of 5") if one % 5 == 0 else one + 1 for one in x]


def detour(x: int) -> int:
    """Others do it: they add one to x, and one more, which fails for one number in three."""
    return Replace(chain(signature("behaviours:inc", (x,)), signature("behaviours:risky")))  # type: ignore[return-value]


def spread(x: int) -> int:
    """Others do it: the sum of x + 1 and of x + 3."""
    header = [signature("behaviours:inc", (x,)), signature("behaviours:add", (x, 3))]
    return Replace(chord(header, signature("behaviours:total")))  # type: ignore[return-value]


def guarded(x: int) -> int:
    """Fails for one number in four, which is told to somebody."""
    if x % 4 == 0:
        raise KeyError(f"{x} is a multiple of 4")
    return x + 1


class Instead:
    """What a task does that others take the place of, in words for the interpreter: `do` calls one of them."""

    def __init__(self, steps: Callable[..., object]) -> None:
        self.steps = steps


def _alone(found: object) -> object:
    if isinstance(found, Exception):
        raise found
    return found


#: by name
TASKS: Mapping[str, Callable[..., object] | Instead] = {
    function.__name__: function
    for function in (
        inc,
        add,
        pick,
        risky,
        broken,
        flaky,
        moody,
        wrong,
        make,
        total,
        name,
        size,
        row,
        unrow,
        note,
        table,
        reserve,
        lend,
        take_back,
        guarded,
        kept,
    )
} | {
    "gathered": lambda x: _alone(gathered([x])[0]),
    "detour": Instead(lambda do, x: do("risky", do("inc", x))),
    "spread": Instead(lambda do, x: do("total", [do("inc", x), do("add", x, 3)])),
}

DECLARATIONS = """\
type Row = { a: int, b: string }

task inc(x: int) returns int { run: python("behaviours:inc"), timeout: 1m }
task add(x: int, y: int) returns int { run: python("behaviours:add"), timeout: 1m }
task pick(x: int, y: int?) returns int { run: python("behaviours:pick"), timeout: 1m }
task risky(x: int) returns int { run: python("behaviours:risky"), timeout: 1m, idempotent: true }
task broken(x: int) returns int { run: python("behaviours:broken"), timeout: 1m, idempotent: true }
task flaky(x: int) returns int { run: python("behaviours:flaky"), timeout: 1m, idempotent: true }
task moody(x: int) returns int { run: python("behaviours:moody"), timeout: 1m }
task wrong(x: int) returns int { run: python("behaviours:wrong"), timeout: 1m }
task make(n: int) returns list<int> { run: python("behaviours:make"), timeout: 1m }
task total(xs: list<int>) returns int { run: python("behaviours:total"), timeout: 1m }
task name(x: int) returns string { run: python("behaviours:name"), timeout: 1m }
task size(s: string) returns int { run: python("behaviours:size"), timeout: 1m }
task row(a: int, b: string) returns Row { run: python("behaviours:row"), timeout: 1m }
task unrow(r: Row) returns int { run: python("behaviours:unrow"), timeout: 1m }
task note(x: int) { run: python("behaviours:note"), timeout: 1m }
task table(n: int) returns map<int> { run: python("behaviours:table"), timeout: 1m }
task reserve(x: int) returns int { run: python("behaviours:reserve"), timeout: 1m, undo: note(result + x) }
task lend(x: int) returns int { run: python("behaviours:lend"), timeout: 1m, undo: take_back(x, result) }
task take_back(x: int, y: int) returns int {
  run: python("behaviours:take_back")
  timeout: 1m
  retry: { max: 1, backoff: fixed(1ms) }
  idempotent: true
}
task guarded(x: int) returns int {
  run: python("behaviours:guarded")
  timeout: 1m
  retry: { max: 1, backoff: fixed(1ms) }
  idempotent: true
  on retry(e) { note(x) }
  on failure(e) { note(len(e.step)) }
  on success(r) { note(r) }
}
type Decision = { approved: bool, by: string, note: string?, at: datetime }
task detour(x: int) returns int { run: python("behaviours:detour"), timeout: 1m, idempotent: true }
task spread(x: int) returns int { run: python("behaviours:spread"), timeout: 1m }
task kept(x: int) returns int { run: python("behaviours:kept"), timeout: 1m, idempotent: true, cache: 1h }
task gathered(x: int) returns int {
  run: python("behaviours:gathered")
  timeout: 1m
  batch: { max: 3, within: 5ms }
  idempotent: true
}
task nap(for: duration) returns datetime { run: wait("sleep") }
task answer(name: string) returns int { run: wait("signal"), timeout: 1h }
task happened(subject: string) returns int { run: wait("event"), timeout: 1h }
task asked(title: string, on_reject: "fail" | "return" = "fail") returns Decision { run: wait("approval"), timeout: 1h }
"""
