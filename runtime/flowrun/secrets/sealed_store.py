"""Secrets on the server: entries `secret.<name>`, sealed, so that neither the server's disk nor who reads its subjects
learns them.

What a sealed value is about is its name: an entry that is copied to another name does not open. All entries of an
environment should be of one key; while a key is replaced they are of two, and every process has both.
"""

from __future__ import annotations

import time

import msgspec

from flowrun.errors import Conflict
from flowrun.transport import Entry, Transport

from .errors import SecretError
from .keys import KeyRing
from .sources import MOST_BYTES, check_name

__all__ = ["SealedStore", "SecretInfo"]

#: version of the format
FORMAT = 1
_PREFIX = "secret"


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    """An entry."""

    format: int
    #: id of its key
    key: str
    data: bytes
    #: when it was set, milliseconds since 1970, and by whom
    at_ms: int
    by: str


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told of a secret."""

    name: str
    #: when it was set last, milliseconds since 1970, and by whom
    at_ms: int
    by: str
    #: id of the key that it is sealed with, and whether this process has it
    key: str
    readable: bool


_decoder = msgspec.msgpack.Decoder(_Sealed)
_encoder = msgspec.msgpack.Encoder()


class SealedStore:
    """All methods raise TransportError and StoreError as the transport does, and SecretError."""

    def __init__(self, transport: Transport, keys: KeyRing) -> None:
        self._transport, self._keys = transport, keys

    async def get(self, name: str) -> str | None:
        """None if it is not there."""
        entry = await self._transport.read_entry(_entry_key(name))
        return None if entry is None or not entry.data else self._opened(name, _unpacked(entry))

    async def has(self, name: str) -> bool:
        """It is there; whether it can be opened here is another thing."""
        entry = await self._transport.read_entry(_entry_key(name))
        return entry is not None and bool(entry.data)

    async def set(self, name: str, value: str, by: str, *, is_new: bool | None = None) -> None:
        """Seals a value with the first key. `is_new`: it must not, or must, be there already. Refused while any secret
        of the environment is sealed with a key that this process does not have: who has only the wrong key must not
        write what nobody else can read."""
        check_name(name)
        data = value.encode()
        if not data:
            raise SecretError(f"the secret `{name}` would be empty: give its value")
        if len(data) > MOST_BYTES:
            raise SecretError(f"the secret `{name}` has {len(data):,} bytes, and at most {MOST_BYTES:,} are kept")
        key = self._keys.first
        for other in await self.all():
            if not other.readable:
                self._keys.need(other.key, f"secrets of this environment (`{other.name}`) are")
        entry = await self._transport.read_entry(_entry_key(name))
        if is_new is False and entry is None:
            raise SecretError(f"there is no secret `{name}` here to be replaced: `flowc secret set {name}` makes it")
        if is_new and entry is not None:
            raise SecretError(f"there is a secret `{name}` already: `flowc secret rotate {name}` replaces it")
        sealed = _Sealed(FORMAT, key.id, key.seal(data, _about(name)), int(time.time() * 1000), by)
        await self._write(name, sealed, entry)

    async def remove(self, name: str) -> bool:
        """False: there was none. Needs no key."""
        there = await self.has(name)
        if there:
            await self._transport.remove_entry(_entry_key(name))
        return there

    async def all(self) -> list[SecretInfo]:
        """By name; without values."""
        found = [(entry.key.removeprefix(f"{_PREFIX}."), _unpacked(entry)) for entry in await self._entries()]
        return [
            SecretInfo(
                name=name, at_ms=one.at_ms, by=one.by, key=one.key, readable=self._keys.get(one.key) is not None
            )
            for name, one in sorted(found)
        ]  # fmt: skip

    async def rotate_key(self) -> int:
        """Seals with the first key what is sealed with others; gives how many. All of it is opened before anything is
        written: with a key missing nothing changes. Ended half-way, all can still be opened with both keys, and the
        next call does the rest."""
        first = self._keys.first
        opened: list[tuple[str, _Sealed, str, Entry]] = []
        for entry in await self._entries():
            name, one = entry.key.removeprefix(f"{_PREFIX}."), _unpacked(entry)
            value = self._opened(name, one)
            if one.key != first.id:
                opened.append((name, one, value, entry))
        for name, one, value, entry in opened:
            sealed = msgspec.structs.replace(one, key=first.id, data=first.seal(value.encode(), _about(name)))
            await self._write(name, sealed, entry)
        return len(opened)

    async def _entries(self) -> list[Entry]:
        return [entry for entry in await self._transport.entries(_PREFIX) if entry.data]

    async def _write(self, name: str, sealed: _Sealed, before: Entry | None) -> None:
        expected = 0 if before is None else before.revision
        try:
            await self._transport.write_entry(_entry_key(name), _encoder.encode(sealed), expected)
        except Conflict:
            raise SecretError(f"the secret `{name}` was changed by somebody else at the same time: try again") from None

    def _opened(self, name: str, sealed: _Sealed) -> str:
        key = self._keys.need(sealed.key, f"the secret `{name}` is")
        value = key.open(sealed.data, _about(name))
        if value is None:
            raise SecretError(f"the secret `{name}` was changed on the server since it was sealed: set it anew")
        return value.decode()


def _about(name: str) -> bytes:
    return f"flow secret {FORMAT} {name}".encode()


def _entry_key(name: str) -> str:
    check_name(name)
    return f"{_PREFIX}.{name}"


def _unpacked(entry: Entry) -> _Sealed:
    try:
        sealed = _decoder.decode(entry.data)
    except msgspec.DecodeError as error:
        raise SecretError(f"the entry `{entry.key}` cannot be read ({error}): set the secret anew") from None
    if sealed.format > FORMAT:
        raise SecretError(f"the entry `{entry.key}` was written by a newer version: upgrade flowc here")
    return sealed
