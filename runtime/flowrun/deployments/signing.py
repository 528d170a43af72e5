"""Signatures of deployments: ed25519, by the `cryptography` library.

What is signed is the whole entry of the history (manifest, number, time, what was done, by whom, why) with its project
and its environment: so it holds for no other project, no other environment, and no other place in the history. The
manifest names plans and code by content hash, so they are signed with it. A private key is a file in PKCS#8 PEM, a
public one a line of text: "ed25519:" and 32 bytes in base64.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

import msgspec

from flowrun.errors import FlowError
from flowrun.manifest import Deployment

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["KeyProblem", "SigningKey", "key_bytes", "key_text", "signature_holds", "signed"]

_PREFIX = "ed25519:"
_KEY_BYTES = 32
#: nothing else that anybody signs with this key begins so
_DOMAIN = b"flowc deployment 1\0"
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class KeyProblem(FlowError):
    """A key cannot be used."""


class SigningKey:
    """A private key. cryptography is loaded with the first one: most commands need none."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def new(cls) -> SigningKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: bytes, password: bytes | None = None) -> SigningKey:
        """Raises KeyProblem."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(data, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyProblem(f"the private key cannot be read: {_first_line(error)}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyProblem("the private key is no ed25519 key: make one with `flowc key new FILE`")
        return cls(key)

    def to_pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


def key_text(public: bytes) -> str:
    """A public key as it is written."""
    return _PREFIX + base64.b64encode(public).decode()


def key_bytes(text: str) -> bytes:
    """A public key from its text. Raises KeyProblem."""
    try:
        found = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not text.strip().startswith(_PREFIX) or len(found) != _KEY_BYTES:
        raise KeyProblem(f'`{text}` is no public key: write it as "ed25519:…", as `flowc key show FILE` prints it')
    return found


def signed(deployment: Deployment, env: str, project: str, key: SigningKey) -> Deployment:
    """The entry with its signer and their signature."""
    unsigned = msgspec.structs.replace(deployment, key=key.public, signature=b"")
    return msgspec.structs.replace(unsigned, signature=key.sign(_message(unsigned, env, project)))


def signature_holds(deployment: Deployment, env: str, project: str) -> bool:
    """The entry was signed by who it names, for this environment and project, and not changed since."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    unsigned = msgspec.structs.replace(deployment, signature=b"")
    try:
        public = Ed25519PublicKey.from_public_bytes(deployment.key)
        public.verify(deployment.signature, _message(unsigned, env, project))
    except (InvalidSignature, ValueError):
        return False
    return True


def _message(unsigned: Deployment, env: str, project: str) -> bytes:
    return _DOMAIN + _encoder.encode((env, project, unsigned))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
