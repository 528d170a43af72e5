"""Sets of subjects, as patterns: `*` is one part between dots, `>` is what is left, at least one."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["collide", "cover", "covers", "why_not_heard"]


def collide(one: str, other: str) -> bool:
    """Some subject matches both."""
    mine, theirs = one.split("."), other.split(".")
    for a, b in zip(mine, theirs, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(mine) == len(theirs)


def covers(one: str, other: str) -> bool:
    """Whatever matches `other` matches `one`."""
    mine, theirs = one.split("."), other.split(".")
    for i, part in enumerate(mine):
        if part == ">":
            return len(theirs) > i
        if i >= len(theirs) or theirs[i] == ">" or (part not in ("*", theirs[i])):
            return False
    return len(mine) == len(theirs)


def cover(patterns: Iterable[str]) -> list[str]:
    """Patterns of which no two collide, and that take in all of these: a stream can have no others. Where two overlap,
    one that takes in both stands for them, which may be more than they are together."""
    found: list[str] = []
    for pattern in sorted(set(patterns)):
        while (other := next((known for known in found if collide(known, pattern)), None)) is not None:
            found.remove(other)
            pattern = _joined(other, pattern)
        found.append(pattern)
    return sorted(found)


def _joined(one: str, other: str) -> str:
    if covers(one, other):
        return one
    if covers(other, one):
        return other
    parts: list[str] = []
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if ">" in (a, b):
            return ".".join([*parts, ">"])
        parts.append(a if a == b else "*")
    return ".".join(parts)


def why_not_heard(pattern: str) -> str | None:
    """Why others' messages on a subject cannot be listened to; None: they can."""
    parts = pattern.split(".")
    if not all(parts) or any(character.isspace() for character in pattern) or ">" in parts[:-1]:
        return f"`{pattern}` is no subject of NATS"
    if parts[0] in ("*", ">", "flow") or parts[0][0] in "$_":
        return f"the subject `{pattern}` takes in those of the server, or of the runtime itself: begin it with a name"
    return None
