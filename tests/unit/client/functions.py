"""Functions that are submitted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flowrun import Context, task


@dataclass
class Order:
    number: int
    day: dt.date


def add(a: int, b: int = 2) -> int:
    return a + b


def kinds(
    text: str, number: float, day: dt.date, wait: dt.timedelta, names: list[str], more: dict[str, int],
    order: Order, level: Literal["low", "high"] = "low", maybe: int | None = None,
) -> None: ...  # fmt: skip


def untyped(a, b=1):  # type: ignore[no-untyped-def]
    return a, b


def with_context(x: int, context: Context) -> Order:
    return Order(x, dt.date(2026, 1, 31))


def open_ended(first: int, *rest: int, **more: Any) -> Sequence[int]:
    return [first, *rest, *more.values()]


async def coroutine(x: int) -> int:
    return x


@task(queue="mail", retry={"max": 3, "backoff": "fixed", "first": "30s"}, timeout="5m")
def marked(x: int) -> int:
    return x


class Thing:
    def method(self) -> None: ...
