"""What an executor is told beside its work: secrets, and fields of connections that the environment sets.

They belong neither to a plan nor to the work stream. The agent finds out which of them a bundle needs and gets them
(`giver`), and tells its executor over their socket, before the bundle. They stay in the memory of the process: whoever
runs as the same user could read them there, as in the worker's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from flowc.plan import Expr

from flowrun.messages import Failure

from .failures import TaskFailed, not_found
from .frames import Given
from .mask import process_mask

__all__ = ["Told"]


class Told:
    """What this executor was told so far; of each secret the last value."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}
        self._missing: dict[str, tuple[str, bool]] = {}
        self._fields: dict[str, dict[str, Expr]] = {}
        self._broken: dict[str, tuple[str, bool]] = {}

    def take(self, given: Given) -> None:
        process_mask().learn(given.secrets.values())
        for key in (*given.secrets, *given.missing):
            self._secrets.pop(key, None)
            self._missing.pop(key, None)
        for name in (*given.fields, *given.broken):
            self._broken.pop(name, None)
        self._secrets |= given.secrets
        self._missing |= given.missing
        self._fields |= given.fields
        self._broken |= given.broken

    def secret(self, key: str) -> str:
        """The value of `secret("key")`. Raises TaskFailed."""
        value = self._secrets.get(key)
        if value is None:
            raise _failed(*self._missing.get(key, (f"there is no secret `{key}`: it was not given", False)))
        return value

    def fields(self, connection: str) -> Mapping[str, Expr]:
        """Those that are other than the plan has them. Raises TaskFailed."""
        if connection in self._broken:
            raise _failed(*self._broken[connection])
        return self._fields.get(connection, {})


def _failed(message: str, may_pass: bool) -> TaskFailed:
    return TaskFailed(Failure("SecretError", message, retryable=True)) if may_pass else not_found(message)
