"""Functions that python.flow names; the tests read them and never run them."""

from __future__ import annotations

from collections.abc import Iterator


def repeat(word: str, times: int = 2) -> list[str]:
    return [word] * times


def say(word: str) -> None:
    print(word)


def stream(word: str) -> Iterator[str]:
    yield from word
