"""Keys that secrets are sealed with, as they are kept on the server: AES-256-GCM of the library `cryptography`.

A key is 32 random bytes, written as a text: `flow1:` and base64. Its *id* is made of it by a hash; it is no secret, and
stands beside everything that the key sealed: so who has the wrong key can be told which one is needed. Several keys may
be given, with commas, spaces or lines between them: the first one seals, all open. That is how a key is replaced: every
node gets the new one and the old one, everything is sealed anew, then the old one goes.

Keys come from FLOW_KEY; else from the file that FLOW_KEY_FILE, or the node's configuration, names; else from an
external store: FLOW_KEY_FROM=vault:name asks the plug-in `vault` for the secret `name`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from .errors import SecretError

__all__ = ["Key", "KeyRing", "load_keys"]

_PREFIX = "flow1:"
_BYTES = 32
_NONCE_BYTES = 12
_HOW = "set FLOW_KEY or FLOW_KEY_FILE, or `key_file` in [node] of flow.toml; `flowc secret key new` makes one"


class Key:
    """One key. Its text and bytes are never shown: not by repr, and not in messages."""

    __slots__ = ("_data", "id")

    def __init__(self, data: bytes) -> None:
        self._data = data
        #: 16 hex digits
        self.id = hashlib.sha256(b"flow key id\0" + data).hexdigest()[:16]

    @classmethod
    def new(cls) -> Key:
        return cls(os.urandom(_BYTES))

    @classmethod
    def read(cls, text: str, where: str) -> Key:
        """Raises SecretError, which names `where` and nothing of the text."""
        if text.startswith(_PREFIX):
            try:
                data = base64.b64decode(text[len(_PREFIX) :], altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                data = b""
            if len(data) == _BYTES:
                return cls(data)
        raise SecretError(
            f"{where} holds no key: a key is `{_PREFIX}` and 44 characters, as `flowc secret key new` makes it"
        )

    @property
    def text(self) -> str:
        """As it is written down: a secret."""
        return _PREFIX + base64.urlsafe_b64encode(self._data).decode()

    def seal(self, value: bytes, about: bytes) -> bytes:
        """Encrypted, and bound to what it is about: opened as anything else, it is refused."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 30 ms, and few processes seal or open

        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._data).encrypt(nonce, value, about)

    def open(self, sealed: bytes, about: bytes) -> bytes | None:
        """None: it was not sealed by this key about that, or was changed since."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._data).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
        except (InvalidTag, ValueError):
            return None


class KeyRing:
    """The keys of a process, the one that seals first. Maybe none."""

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    def get(self, id: str) -> Key | None:
        return self._keys.get(id)

    @property
    def first(self) -> Key:
        """Raises SecretError if there is none."""
        if not self._keys:
            raise SecretError(f"there is no key to seal secrets with: {_HOW}")
        return next(iter(self._keys.values()))

    def need(self, id: str, what: str) -> Key:
        """The key of this id. Raises SecretError, which says what is sealed with it, and which keys are here."""
        key = self._keys.get(id)
        if key is None:
            has = f"has {_list(self.ids)}" if self._keys else "has none"
            raise SecretError(f"{what} sealed with the key {id}, and this process {has}: {_HOW.split(';')[0]}")
        return key


def _list(ids: tuple[str, ...]) -> str:
    return "the key " + ids[0] if len(ids) == 1 else "the keys " + ", ".join(ids)


def load_keys(key_file: str = "", environment: Mapping[str, str] = os.environ) -> KeyRing:
    """The keys of this process. May ask an external store, and take its time. Raises SecretError."""
    if text := environment.get("FLOW_KEY", "").strip():
        return _ring(text, "FLOW_KEY")
    if path := environment.get("FLOW_KEY_FILE") or key_file:
        return _ring(_read(Path(path).expanduser()), f"the key file {path}")
    if place := environment.get("FLOW_KEY_FROM"):
        return _ring(_ask(place), f"FLOW_KEY_FROM={place}")
    return KeyRing()


def _ring(text: str, where: str) -> KeyRing:
    lines = (line.split("#")[0] for line in text.splitlines())  # `key new` writes the id behind it
    found = [part for line in lines for part in re.split(r"[\s,]+", line) if part]
    if not found:
        raise SecretError(f"{where} is empty: it holds no key")
    return KeyRing(tuple(Key.read(part, where) for part in found))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SecretError(f"the key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SecretError(f"the key file {path} is no text: it holds no key") from None


def _ask(place: str) -> str:
    from .plugins import open_store  # few keys are there

    plugin, _, name = place.partition(":")
    if not plugin or not name:
        raise SecretError(f"FLOW_KEY_FROM={place} names no secret of a store: write it like `vault:flow-key`")
    found = open_store(plugin).get(name)
    if found is None:
        raise SecretError(f"the store `{plugin}` has no secret `{name}`, where FLOW_KEY_FROM expects the key")
    return found
