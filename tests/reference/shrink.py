"""Makes a program that fails smaller: statements, blocks and declarations are left out while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator

__all__ = ["smaller"]


def smaller(text: str, fails: Callable[[str], bool], head: str = "") -> str:
    """The text without all that it fails without; `head`, with which it begins, stays. `fails` is false for a text that
    does not compile."""
    lines = text.removeprefix(head).splitlines()
    head = head if text.startswith(head) else ""
    found = True
    while found:
        found = False
        for candidate in _candidates(lines):
            if fails(head + "\n".join(candidate) + "\n"):
                lines, found = candidate, True
                break
    return head + "\n".join(lines) + "\n"


def _candidates(lines: list[str]) -> Iterator[list[str]]:
    """Without something that is balanced, the long ones first; then with the content of a block in its place."""
    pieces = sorted(_pieces(lines), key=lambda piece: piece[0] - piece[1])
    for first, last in pieces:
        yield lines[:first] + lines[last:]
    for first, last in pieces:
        if last - first > 2:
            yield lines[:first] + lines[first + 1 : last - 1] + lines[last:]


def _pieces(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Lines, as [first, last), that close what they open, and nothing else."""
    for first in range(len(lines)):
        depth = 0
        for last in range(first, len(lines)):
            low, change = _depth(lines[last])
            if depth + low < 0:
                break
            depth += change
            if depth == 0:
                yield first, last + 1
                if last > first:  # statements in a row are left out one by one
                    break


def _depth(line: str) -> tuple[int, int]:
    """How deep a line goes down at most, and at its end."""
    depth = low = 0
    for letter in line:
        depth += (letter in "{[(") - (letter in "}])")
        low = min(low, depth)
    return low, depth
