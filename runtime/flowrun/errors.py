"""Errors of the runtime: misuse, environment, bugs. What a user's task does wrong is a `messages.Failure`, a value."""

from __future__ import annotations

__all__ = ["Conflict", "Fenced", "FlowError", "StoreError", "TransportError", "ValueTooLarge"]


class FlowError(Exception):
    """Something went wrong in the runtime."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class TransportError(FlowError):
    """The message server does not answer."""


class StoreError(FlowError):
    """The store could not be read or written."""


class ValueTooLarge(FlowError):
    """A value is larger than a value can be."""


class Conflict(FlowError):
    """Somebody else changed it in between."""


class Fenced(FlowError):
    """Another coordinator leads the partition now."""
