"""What all messages have in common."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrun.errors import FlowError

__all__ = ["MessageError", "RunState", "StepState", "Wire"]

StepState = Literal["waiting", "ready", "running", "retrying", "success", "failed", "skipped", "upstream_failed",
                    "cancelled", "expired"]  # fmt: skip
RunState = Literal["running", "success", "failed", "cancelled", "expired"]


class MessageError(FlowError):
    """A message could not be read."""


class Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Data that travels. It never contains itself, so the garbage collector need not look at it."""
