"""Tasks of the tests of the coordinator."""

from __future__ import annotations

import asyncio

__all__ = ["add", "fail_once", "forget_calls", "calls", "double", "nap", "noop", "short_nap", "text"]

#: what was called, in order
calls: list[str] = []


def forget_calls() -> None:
    calls.clear()


def noop(a: int) -> int:
    return a


def double(a: int) -> int:
    calls.append(f"double {a}")
    return 2 * a


def add(a: int, b: int) -> int:
    calls.append(f"add {a} {b}")
    return a + b


def text(a: int) -> str:
    return "x" * a


def fail_once(a: int) -> int:
    calls.append(f"fail_once {a}")
    if calls.count(f"fail_once {a}") == 1:
        raise ValueError("not yet")
    return a


async def short_nap(a: int) -> int:
    """Sleeps for `a` tenths of a second."""
    calls.append(f"nap {a}")
    await asyncio.sleep(a / 10)
    return a


async def nap(a: int) -> int:
    """Sleeps for `a` seconds."""
    calls.append(f"nap {a}")
    await asyncio.sleep(a)
    return a
