"""The tasks of the conformance suite and the patterns. Each does one plain thing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta

from flowrun.canvas import group, signature
from flowrun.operator import Context, Extend, Fail, Replace, Retry, Skip, SoftTimeout


def number(x: int) -> int:
    """Gives what it gets."""
    return x


def add(a: int, b: int = 1) -> int:
    return a + b


def total(xs: list[int]) -> int:
    return sum(xs)


def listing(n: int) -> list[int]:
    """1, 2, …, n."""
    return list(range(1, n + 1))


def say(text: str) -> str:
    return text


def note(text: str) -> None:
    """Gives nothing."""


def find(x: int) -> int | None:
    """Null for numbers below zero."""
    return x if x >= 0 else None


def pick(x: int, y: int | None = None) -> int:
    """Takes a value that may be missing."""
    return x if y is None else y


# ---- ends ------------------------------------------------------------------------------------------------------------


def fail(x: int = 0) -> int:
    """Fails; another attempt would, too."""
    raise ValueError(f"{x} is refused")


def fail_for_good(x: int = 0) -> int:
    """Fails so that no other attempt is made."""
    raise Fail(f"{x} is never right")


def skip(x: int = 0) -> int:
    """Ends as skipped."""
    raise Skip


def flaky(x: int, failures: int, ctx: Context) -> int:
    """Fails so many times before it gives what it gets."""
    if ctx.attempt <= failures:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return x


def busy(x: int, after: float, ctx: Context) -> int:
    """In its first attempt asks for another one after so many seconds."""
    if ctx.attempt == 1:
        raise Retry("not yet", after=after)
    return x


def wrong(x: int) -> int:
    """Returns text where its type is a number."""
    return str(x)  # type: ignore[return-value]


def even(x: int) -> int:
    """Fails for odd numbers."""
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def few(x: int) -> int:
    """Is skipped for numbers above two."""
    if x > 2:
        raise Skip
    return x


async def end(how: str, seconds: float = 0.0) -> int:
    """Ends after so many seconds as S success, F failed, K skipped."""
    await asyncio.sleep(seconds)
    if how == "F":
        raise ValueError("F")
    if how == "K":
        raise Skip
    return 1


# ---- time ------------------------------------------------------------------------------------------------------------


async def slow(x: int, seconds: float = 1.0) -> int:
    """Gives what it gets after so many seconds."""
    await asyncio.sleep(seconds)
    return x


async def late_fail(x: int, seconds: float = 1.0) -> int:
    """Fails after so many seconds."""
    await asyncio.sleep(seconds)
    raise ValueError(f"{x} is refused")


# ---- facts and types -------------------------------------------------------------------------------------------------


@dataclass
class Row:
    id: int
    tag: str | None = None


def row(id: int, tag: str | None = None) -> Row:
    return Row(id, tag)


def numbers(n: int) -> list[int]:
    """0, 1, … one after another."""
    return (i for i in range(n))  # type: ignore[return-value]


def tomorrow(day: date) -> date:
    return day + timedelta(days=1)


def facts(ctx: Context) -> str:
    """Where it runs: flow, step, position, attempt."""
    return f"{ctx.flow} {ctx.step} {ctx.index} {ctx.attempt}"


def key_of(x: int, ctx: Context) -> str:
    """The idempotency key of the step."""
    return ctx.idempotency_key


def key_of_two(who: str, n: int, ctx: Context) -> str:
    return ctx.idempotency_key


async def flaky_key(ctx: Context) -> bool:
    """Fails at first; then says whether the key is the same."""
    if ctx.attempt == 1:
        raise ConnectionError(ctx.idempotency_key)
    return ctx.idempotency_key == ctx.attempt_id.rpartition("/")[0]


def stamp(text: str) -> int:
    """Gives another number each time."""
    return time.monotonic_ns()


_calls: dict[str, int] = {}


def fail_once_more(text: str) -> int:
    """Fails at its first call with a text; then gives the number of the call."""
    _calls[text] = _calls.get(text, 0) + 1
    if _calls[text] == 1:
        raise ValueError(text)
    return _calls[text]


def sizes(texts: list[str]) -> list[str]:
    """Gives each text with the size of the batch that it was in."""
    return [f"{text} of {len(texts)}" for text in texts]


def picky(xs: list[int]) -> list[int]:
    """Puts what becomes of each into the list: odd numbers fail, those above nine are skipped."""
    return [ValueError(f"{x} is odd") if x % 2 else Skip() if x > 9 else x for x in xs]  # type: ignore[misc]


async def all_fail(xs: list[int]) -> list[int]:
    raise ValueError(f"{len(xs)} together")


def too_few(xs: list[int]) -> list[int]:
    return xs[1:]


# ---- secrets ---------------------------------------------------------------------------------------------------------


def size_of(token: str) -> int:
    return len(token)


def shout(token: str) -> None:
    """A task that is more careless still."""
    print(f"the token is {token}")


def tell(token: str) -> None:
    """A task that is careless with its secret."""
    raise ValueError(f"the token {token} is refused")


async def sync(tenant: str, x: int) -> int:
    """Takes a fifth of a second."""
    await asyncio.sleep(0.2)
    return x


# ---- what needs a process of its own ---------------------------------------------------------------------------------


def leave(code: int) -> int:
    sys.exit(code)


def crash(x: int) -> int:
    """Ends its process, as running out of memory would."""
    os._exit(9)


def busy_loop(seconds: float) -> int:
    """Never gives way."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return 1


def tidy(seconds: float) -> str:
    """Tidies up when its time is nearly over."""
    try:
        time.sleep(seconds)
    except SoftTimeout:
        return "tidied up"
    return "done"


def stubborn(seconds: float) -> int:
    """Goes on when its time is nearly over."""
    with contextlib.suppress(SoftTimeout):
        time.sleep(seconds)
    time.sleep(seconds)
    return 1


# ---- canvases --------------------------------------------------------------------------------------------------------


def replaced(n: int) -> int:
    """The sum of 1, 2, … n, worked out by others; fails below zero."""
    if n < 0:
        return Replace(signature("tasks:fail", (n,)))  # type: ignore[return-value]
    parts = group(signature("tasks:number", (i,)) for i in range(1, n + 1))
    return Replace(parts | signature("tasks:total"))  # type: ignore[return-value]


def replaced_wrongly(how: str) -> int:
    """By a canvas that cannot be run."""
    if how == "circle":
        circle = group([signature("tasks:number", (1,))])
        circle.tasks = (circle,)
        return Replace(circle)  # type: ignore[return-value]
    if how == "unknown":
        return Replace(signature("nowhere:at_all", (1,)))  # type: ignore[return-value]
    return Replace(signature("tasks:say", ("text",)))  # type: ignore[return-value]


def endless(n: int) -> int:
    """By itself, again and again."""
    return Replace(signature("tasks:endless", (n + 1,)))  # type: ignore[return-value]


# ---- members that add members ----------------------------------------------------------------------------------------


def page(n: int) -> int:
    """A page of a listing that knows its next ones: n, and the pages 2n and 2n + 1 up to 7."""
    return Extend(n, [signature("tasks:page", (m,)) for m in (2 * n, 2 * n + 1) if m <= 7])  # type: ignore[return-value]
