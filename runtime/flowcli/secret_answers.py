"""What `flowc secret` prints with `--json`, as data. Its schema is specs/schemas/answers.schema.json."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import msgspec
from flowrun.secrets import SecretInfo

__all__ = ["SealingKeys", "SecretChanged", "SecretEntry", "Secrets", "SecretsSealed", "secrets_of"]


class SecretChanged(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc secret set`, `rotate`, `rm`."""

    secret: str
    env: str
    action: Literal["set", "rotated", "removed"]


class SecretEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A secret, without its value."""

    name: str
    #: when it was set last, and by whom
    at: dt.datetime
    by: str
    #: id of the key that it is sealed with, and whether that is here
    key: str
    readable: bool


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc secret list`."""

    env: str
    secrets: tuple[SecretEntry, ...]


class SealingKeys(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc secret key new`, `show`: ids, the one that seals first."""

    keys: tuple[str, ...]


class SecretsSealed(msgspec.Struct, frozen=True, kw_only=True):
    """`flowc secret key rotate`."""

    env: str
    key: str
    #: so many were sealed with another one
    count: int


def secrets_of(env: str, found: Sequence[SecretInfo]) -> Secrets:
    entries = (
        SecretEntry(
            name=one.name, at=dt.datetime.fromtimestamp(one.at_ms / 1000, dt.UTC), by=one.by, key=one.key,
            readable=one.readable,
        )
        for one in found
    )  # fmt: skip
    return Secrets(env=env, secrets=tuple(entries))
