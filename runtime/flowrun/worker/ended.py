"""How a unit ended, and what travels for its value."""

from __future__ import annotations

from typing import Protocol

import msgspec

from flowrun import wire
from flowrun.operator import Skip

from .failures import from_exception, pack_failure
from .mask import process_mask
from .shared import EXPIRED, FAILED, SKIPPED, SUCCESS

__all__ = ["HAS_EXPIRED", "NOTHING_RETURNED", "Blobs", "Ended", "ended_by", "stored", "success"]


class Ended(msgspec.Struct, frozen=True, gc=False):
    """How a unit ended."""

    #: as `shared` has them: SUCCESS, FAILED, SKIPPED, EXPIRED, NOT_RUN, REPLACED
    state: int
    #: the value's bytes; FAILED: a packed Failure; REPLACED: what replaces it
    payload: bytes


#: of a unit that did not begin in time
HAS_EXPIRED = Ended(EXPIRED, wire.NULL)
#: of a task whose result is dropped
NOTHING_RETURNED = Ended(SUCCESS, wire.NULL)


class Blobs(Protocol):
    """Where large values are. Both raise FlowError."""

    def get(self, digest: str) -> bytes: ...

    def put(self, digest: str, data: bytes) -> None: ...

    def cached(self, key: str) -> bytes:
        """A value that was kept; b"" if there is none."""

    def keep(self, key: str, data: bytes, ttl_ms: int) -> None:
        """Keeps a value for a while."""


def success(data: bytes, blobs: Blobs) -> Ended:
    """The end of a unit that gave this value."""
    return Ended(SUCCESS, data if len(data) <= wire.INLINE_LIMIT else stored(data, blobs))


def stored(data: bytes, blobs: Blobs) -> bytes:
    """What travels for a value: a large one is stored, and a reference stands for it."""
    data, blob = wire.externalise(data)
    if blob is not None:
        blobs.put(*blob)
    return data


def ended_by(error: BaseException) -> Ended:
    """The end of a unit that raised."""
    if isinstance(error, Skip):
        return Ended(SKIPPED, wire.NULL)
    failure, mask = from_exception(error), process_mask()
    failure = msgspec.structs.replace(failure, message=mask(failure.message), detail=mask(failure.detail))
    return Ended(FAILED, pack_failure(failure))
