"""The blobs of one unit, for who must not block: fetched before it runs, stored after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from flowrun import values
from flowrun.errors import StoreError

__all__ = ["UnitBlobs", "fetch_all"]


class UnitBlobs:
    """What `execute` takes for the blob store."""

    def __init__(self) -> None:
        self.fetched: dict[str, bytes] = {}
        self.stored: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        if digest not in self.fetched:
            raise StoreError(f"the blob {digest} was not fetched")
        return self.fetched[digest]

    def put(self, digest: str, data: bytes) -> None:
        self.stored[digest] = data

    def cached(self, key: str) -> bytes:
        raise AssertionError("who must not block looks for it before the unit runs")

    def keep(self, key: str, data: bytes, ttl_ms: int) -> None:
        raise AssertionError("who must not block keeps it after the unit has run")


async def fetch_all(data: Iterable[bytes], blobs: UnitBlobs, get: Callable[[str], Awaitable[bytes]]) -> None:
    """Fetches all that these values refer to, and what that refers to."""
    for blob in values.references(data):
        if blob.digest not in blobs.fetched:
            found = blobs.fetched[blob.digest] = await get(blob.digest)
            await fetch_all((found,), blobs, get)
