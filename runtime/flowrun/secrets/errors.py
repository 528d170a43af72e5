"""What goes wrong with secrets. No message ever has a value in it."""

from __future__ import annotations

from flowrun.errors import FlowError

__all__ = ["SecretError", "SecretMissing"]


class SecretError(FlowError):
    """A secret cannot be had: the message says why, and what to do."""


class SecretMissing(SecretError):
    """None of the places where secrets are looked for has it."""
