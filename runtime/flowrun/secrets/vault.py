"""HashiCorp Vault, and OpenBao: secrets of a key-value engine, version 2. Needs the library `hvac`.

FLOW_VAULT_PATH  where they are: the engine's mount, then a path ("secret/flow/prod"); without it Vault is not asked
VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT  as Vault's own tools read them
VAULT_TOKEN, or VAULT_TOKEN_FILE (as Vault's agent writes it); else FLOW_VAULT_ROLE_ID and FLOW_VAULT_SECRET_ID
(AppRole); else FLOW_VAULT_KUBERNETES_ROLE

The secret `db_password` is the field `db_password` of what lies at the path itself; else the field `value`, or the only
field, of what lies at the path with its name behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import SecretError

__all__ = ["Vault", "open_store"]

#: nobody waits longer for an answer, in seconds
_SECONDS = 5
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def open_store() -> Vault | None:
    """None: FLOW_VAULT_PATH does not say where secrets are. Raises SecretError."""
    path = os.environ.get("FLOW_VAULT_PATH", "").strip("/")
    return Vault(path, os.environ) if path else None


class Vault:
    """Logs in when it is asked first, and again when its token is refused."""

    def __init__(self, path: str, environment: Mapping[str, str]) -> None:
        """Raises SecretError."""
        self._mount, _, self._path = path.partition("/")
        self._environment = environment
        self._client: Any = None
        self._lock = threading.Lock()
        if not environment.get("VAULT_ADDR"):
            raise SecretError("FLOW_VAULT_PATH is set, and VAULT_ADDR is not: set it to Vault's address")
        try:
            self._hvac: Any = import_module("hvac")  # an optional dependency
        except ModuleNotFoundError:
            raise SecretError("FLOW_VAULT_PATH is set, and hvac is not installed: pip install 'flowc[vault]'") from None

    def get(self, key: str) -> str | None:
        """Raises SecretError."""
        fields = self._read(self._path) if self._path else None
        if fields and key in fields:
            return _text(key, fields[key])
        fields = self._read(f"{self._path}/{key}".strip("/"))
        if not fields:
            return None
        if "value" in fields:
            return _text(key, fields["value"])
        if len(fields) == 1:
            return _text(key, next(iter(fields.values())))
        names = ", ".join(sorted(fields))
        raise SecretError(f"Vault has several fields for the secret `{key}` ({names}), and none is called `value`")

    def _read(self, path: str) -> Mapping[str, Any] | None:
        """The fields of what lies there; None if nothing does."""
        errors = self._hvac.exceptions
        with self._lock:
            try:
                return self._fields(path)
            except errors.Forbidden:
                self._client = None  # the token may have ended
            except errors.VaultError as error:
                raise _told(error) from None
            except OSError as error:  # those of requests are some
                raise SecretError(f"Vault does not answer ({type(error).__name__}): look at VAULT_ADDR") from None
            try:
                return self._fields(path)
            except errors.VaultError as error:
                raise _told(error) from None

    def _fields(self, path: str) -> Mapping[str, Any] | None:
        if self._client is None:
            self._client = self._logged_in()
        try:
            found = self._client.secrets.kv.v2.read_secret_version(
                path, mount_point=self._mount, raise_on_deleted_version=True
            )
        except self._hvac.exceptions.InvalidPath:
            return None
        fields: Mapping[str, Any] = found["data"]["data"] or {}
        return fields

    def _logged_in(self) -> Any:
        named = self._environment
        client = self._hvac.Client(
            url=named["VAULT_ADDR"], namespace=named.get("VAULT_NAMESPACE"), timeout=_SECONDS,
            verify=named.get("VAULT_CACERT") or True,
        )  # fmt: skip
        if named.get("VAULT_TOKEN"):
            client.token = named["VAULT_TOKEN"]
        elif named.get("VAULT_TOKEN_FILE"):
            client.token = _content(named["VAULT_TOKEN_FILE"])
        elif named.get("FLOW_VAULT_ROLE_ID"):
            client.auth.approle.login(named["FLOW_VAULT_ROLE_ID"], named.get("FLOW_VAULT_SECRET_ID"))
        elif named.get("FLOW_VAULT_KUBERNETES_ROLE"):
            client.auth.kubernetes.login(named["FLOW_VAULT_KUBERNETES_ROLE"], _content(_SERVICE_ACCOUNT))
        else:
            raise SecretError(
                "nothing says how to log in to Vault: set VAULT_TOKEN, VAULT_TOKEN_FILE, FLOW_VAULT_ROLE_ID or "
                "FLOW_VAULT_KUBERNETES_ROLE"
            )
        return client


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SecretError(f"the token for Vault cannot be read from {path}: {error.strerror}") from None


def _text(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise SecretError(f"Vault has no text for the secret `{key}`: its field is a {type(value).__name__}")


def _told(error: Exception) -> SecretError:
    """Vault's own reasons name paths and rights, and no values."""
    reasons = getattr(error, "errors", None) or [type(error).__name__]
    return SecretError(f"Vault refuses: {'; '.join(map(str, reasons))}")
