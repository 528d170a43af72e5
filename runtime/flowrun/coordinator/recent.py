"""Code is large, and is put again less often than what is small."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Recent"]


class Recent:
    """Says which of some blobs are due to be put again: each at most once in `every_ms`."""

    def __init__(self, every_ms: float) -> None:
        self._every_ms = every_ms
        #: blob -> when it was due last, milliseconds since 1970
        self._since: dict[str, int] = {}

    def due(self, names: Iterable[str], now_ms: int) -> list[str]:
        """Those that are, in order; they count as put from now on. "" is none."""
        self._since = {name: since for name, since in self._since.items() if now_ms - since < self._every_ms}
        found = sorted(set(names) - self._since.keys() - {""})
        self._since |= dict.fromkeys(found, now_ms)
        return found
