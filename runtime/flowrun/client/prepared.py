"""What is submitted of an object that makes its own plan: of a canvas. It has a method `__flow_submission__()`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from .stored import Blobs

__all__ = ["Canvas", "Prepared"]


class Prepared(NamedTuple):
    """A plan, and the arguments of a run of it."""

    #: what an idempotency key is a key of
    flow: str
    digest: str
    #: the plan's bytes
    data: bytes
    #: msgpack map from parameter to value
    args: bytes
    blobs: Blobs
    #: the annotation that the result is converted to; None: it is given as plain data
    returns: Any = None
    #: options of the submission that the object has of itself
    options: Mapping[str, Any] = MappingProxyType({})


class Canvas(Protocol):
    """An object that can be submitted: a signature of `flowrun.canvas`."""

    def __flow_submission__(self) -> Prepared:
        """Raises ArgumentError."""
