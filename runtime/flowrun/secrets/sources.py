"""Where secrets are looked for: the environment, folders of files, and any store that may block.

A source says "I have none" by None; SecretError means that it cannot tell, or may not.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from .errors import SecretError

__all__ = ["Environment", "Files", "InThread", "Source", "Store", "check_name", "variable_of"]

#: a larger one is no secret, in bytes
MOST_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)*")
_FOLDER = "/run/secrets"


class Store(Protocol):
    """What a plug-in gives (entry point `flow.secrets`): a vault, a cloud's store."""

    def get(self, key: str) -> str | None:
        """None if it has none. May block; is called from several threads. Raises SecretError if it cannot tell."""


class Source(Protocol):
    """A place where secrets are."""

    async def get(self, key: str) -> str | None:
        """None if there is none here. Raises SecretError, TransportError."""

    def how(self, key: str) -> str:
        """How somebody would put it there, for a message: "set …"."""


def check_name(name: str) -> None:
    """Raises SecretError for what no store could take as a name."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise SecretError(
            f"`{name[:60]}` is no name of a secret: letters, digits, `_` and `-`, with `.` or `/` between parts"
        )


def variable_of(key: str) -> str:
    """`db.password` -> "FLOW_SECRET_DB_PASSWORD"."""
    return "FLOW_SECRET_" + "".join(c if c.isalnum() else "_" for c in key).upper()


class Environment:
    """Variables FLOW_SECRET_…."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    async def get(self, key: str) -> str | None:
        return self._environment.get(variable_of(key))

    def how(self, key: str) -> str:
        return f"set the environment variable {variable_of(key)} for the workers"


class Files:
    """Files named like the secrets, as Docker and Kubernetes mount them. A line's end at the end of a file is left
    out."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Files:
        """Of the folders that FLOW_SECRETS_DIR names (with `:` between them); else of systemd's credentials, and
        /run/secrets."""
        usual = os.pathsep.join(filter(None, (environment.get("CREDENTIALS_DIRECTORY"), _FOLDER)))
        named = environment.get("FLOW_SECRETS_DIR", usual)
        return cls(tuple(Path(folder) for folder in named.split(os.pathsep) if folder))

    async def get(self, key: str) -> str | None:
        if not _NAME.fullmatch(key):
            return None
        for folder in self._folders:
            found = _content(folder / key)
            if found is not None:
                return found
        return None

    def how(self, key: str) -> str:
        return f"put it into the file {self._folders[0] / key}" if self._folders else ""


def _content(path: Path) -> str | None:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise SecretError(f"the file {path} of a secret cannot be read: {error.strerror}") from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SecretError(f"the file {path} of a secret is no UTF-8 text: encode it, as base64") from None
    return text.removesuffix("\n").removesuffix("\r")


class InThread:
    """A store that blocks, or stores that are found when they are first needed."""

    def __init__(self, get: Callable[[str], str | None], how: Callable[[str], str]) -> None:
        self._get, self._how = get, how

    async def get(self, key: str) -> str | None:
        return await asyncio.to_thread(self._get, key)

    def how(self, key: str) -> str:
        return self._how(key)
