"""A function that takes a secret as its value."""

from __future__ import annotations

from typing import Any


def call(path: str, token: str) -> Any:
    return {"path": path, "authorized": bool(token)}
