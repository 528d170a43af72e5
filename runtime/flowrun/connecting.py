"""Tries whether a connection can be used: connects as far as its kind is known, and says how far that was.

Databases in files are asked for a value, an HTTP server for its answer, a mail server for a login. Of what else has a
host and a port, or a URL, the port is opened; what speaks there, and whether it takes the login, is not tried.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .connections import ConnectionProblem
from .database import DatabaseError, run_sql
from .operator import Connection

__all__ = ["try_connection"]

#: nobody waits longer, in seconds
_SECONDS = 5.0
#: what reads the file of a database
_LOOK = {"sqlite": "select count(*) from sqlite_master", "duckdb": "select 1"}
#: of kinds and of URLs
_PORTS = {"postgres": 5432, "mysql": 3306, "nats": 4222, "http": 80, "https": 443, "tls": 4222, "smtp": 25}


def try_connection(connection: Connection, root: Path) -> str:
    """What was tried, with success. Blocks. Raises ConnectionProblem; its message may hold values of secrets."""
    attempt = _TRIES.get(connection.kind, _open_port)
    try:
        return attempt(connection, root)
    except (OSError, smtplib.SMTPException, DatabaseError) as error:
        raise ConnectionProblem(f"connection `{connection.name}`: {error or type(error).__name__}") from None


def _database(connection: Connection, root: Path) -> str:
    path = connection.fields.get("path")
    if isinstance(path, str) and path != ":memory:" and not (root / path).exists():
        return f"there is no file {path} yet: the first task that uses it makes it"
    try:
        run_sql(connection, _LOOK[connection.kind], (), root)
    except DatabaseError:
        raise
    except Exception as error:  # the databases' own errors have no common class
        raise ConnectionProblem(f"connection `{connection.name}`: {error}") from None
    return "the database answers"


def _http(connection: Connection, root: Path) -> str:
    import httpx  # slow to import

    fields = connection.fields
    headers = {"Authorization": f"Bearer {fields['token']}"} if fields.get("token") else {}
    login = (str(fields["user"]), str(fields.get("password", ""))) if fields.get("user") else None
    url = _text(connection, "url")
    try:
        answer = httpx.get(url, headers=headers, auth=login, timeout=_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionProblem(f"connection `{connection.name}`: {error or type(error).__name__}") from None
    if answer.status_code in (401, 403):
        raise ConnectionProblem(f"connection `{connection.name}`: the server refuses the login ({answer.status_code})")
    if answer.status_code >= 500:
        raise ConnectionProblem(f"connection `{connection.name}`: the server answers {answer.status_code}")
    return f"the server answers {answer.status_code}"


def _smtp(connection: Connection, root: Path) -> str:
    fields = connection.fields
    host, port = _text(connection, "host"), int(fields.get("port") or _PORTS["smtp"])
    with smtplib.SMTP(host, port, timeout=_SECONDS) as server:
        server.ehlo()
        if fields.get("tls") or server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if not fields.get("user"):
            return "the mail server answers"
        server.login(str(fields["user"]), str(fields.get("password", "")))
        return "the mail server takes the login"


def _open_port(connection: Connection, root: Path) -> str:
    host, port = _address(connection)
    with socket.create_connection((host, port), _SECONDS):
        return f"{host}:{port} is open; the login was not tried"


def _address(connection: Connection) -> tuple[str, int]:
    fields: Mapping[str, Any] = connection.fields
    url = urlsplit(str(fields.get("url") or fields.get("endpoint") or ""))
    try:
        host = fields.get("host") or url.hostname
        port = fields.get("port") or url.port or _PORTS.get(url.scheme) or _PORTS.get(connection.kind)
    except ValueError as error:  # a port that is no number
        raise ConnectionProblem(f"connection `{connection.name}`: {error}") from None
    if not host or not port:
        raise ConnectionProblem(
            f"connection `{connection.name}` cannot be tried: nothing is known of the kind `{connection.kind}`, and it "
            "has no `host` and `port`, and no `url`"
        )
    return str(host), int(port)


def _text(connection: Connection, name: str) -> str:
    value = connection.fields.get(name)
    if not isinstance(value, str) or not value:
        raise ConnectionProblem(f"connection `{connection.name}` has no `{name}`")
    return value


_TRIES: dict[str, Callable[[Connection, Path], str]] = {
    "sqlite": _database,
    "duckdb": _database,
    "http": _http,
    "smtp": _smtp,
}
