"""The variables of the environment, as this partition knows them. A part of the state."""

from __future__ import annotations

import msgspec

__all__ = ["Variables"]


class Variable(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What was set last."""

    version: int
    #: msgpack; None: it was unset
    value: bytes | None


_decoder = msgspec.msgpack.Decoder(dict[str, Variable])


class Variables:
    """Name -> value. What was unset is remembered, so that an older value does not come back."""

    def __init__(self) -> None:
        self._known: dict[str, Variable] = {}

    def get(self, name: str) -> bytes | None:
        """None: it is not set."""
        known = self._known.get(name)
        return None if known is None else known.value

    def version(self, name: str) -> int:
        """Of what was set last; 0: nothing ever was."""
        known = self._known.get(name)
        return 0 if known is None else known.version

    def set(self, name: str, version: int, value: bytes | None) -> bool:
        """False: it is no newer than what is known, and changes nothing."""
        if version <= self.version(name):
            return False
        self._known[name] = Variable(version, value)
        return True

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(self._known)

    def restore(self, data: bytes) -> None:
        self._known = _decoder.decode(data)
