"""Statements on a SQLite or DuckDB database, for `run: sql(…)` and for operators.

A connection has the kind `sqlite` or `duckdb` and a field `path`, relative to a folder; `:memory:` is a database of
its own per call. Values are bound to `?`. Several statements may stand in one text when nothing is bound; the answer
is that of the last. SQLite gets dates as ISO text, durations as seconds, decimals as text, lists and maps as JSON. A
database that another process has locked is waited for.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .errors import FlowError
from .operator import Connection

__all__ = ["KINDS", "Answer", "DatabaseError", "run_sql"]

#: kinds of connections that are databases
KINDS = ("sqlite", "duckdb")
#: a locked database is waited for, in seconds
BUSY_SECONDS = 30.0


class Answer(NamedTuple):
    """What the last statement gave."""

    #: names of the columns; None: the statement gives no rows
    columns: list[str] | None
    rows: Sequence[Sequence[Any]]
    #: rows that it changed, or -1
    changed: int


class DatabaseError(FlowError):
    """The connection cannot be used as a database."""


def run_sql(connection: Connection, sql: str, values: Sequence[Any], root: Path) -> Answer:
    """Raises DatabaseError, and the database's own errors."""
    path = connection.fields.get("path")
    if not isinstance(path, str):
        raise DatabaseError(f'the connection `{connection.name}` has no path: `{connection.kind} {{ path: "x.db" }}`')
    if path != ":memory:":
        path = str(root / path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    if connection.kind == "sqlite":
        return _sqlite(path, sql, values)
    if connection.kind == "duckdb":
        return _duckdb(path, sql, values)
    raise DatabaseError(
        f"the connection `{connection.name}` is of the kind `{connection.kind}`; sql runs on `sqlite` and `duckdb`"
    )


def _sqlite(path: str, sql: str, values: Sequence[Any]) -> Answer:
    answer = Answer(None, [], -1)
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
        for one in [sql] if values else _statements(sql):
            cursor = database.execute(one, [_plain(value) for value in values])
            columns = [column[0] for column in cursor.description] if cursor.description else None
            answer = Answer(columns, cursor.fetchall() if columns else [], cursor.rowcount)
        database.commit()
    return answer


def _statements(sql: str) -> list[str]:
    """The text cut at the semicolons that end a statement."""
    found, current = [], ""
    for piece in sql.split(";"):
        current += piece + ";"
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return [*found, current.removesuffix(";")] if current.strip(" \t\n\r;") else found


def _plain(value: Any) -> Any:
    """A parameter as SQLite takes it: dates as ISO text, durations as seconds, decimals as text, lists as JSON."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value


def _duckdb(path: str, sql: str, values: Sequence[Any]) -> Answer:
    try:
        import duckdb  # an optional dependency
    except ModuleNotFoundError:
        raise DatabaseError("DuckDB is not installed for the workers: pip install 'flowc[duckdb]'") from None
    with closing(_open_duckdb(duckdb, path)) as database:
        cursor = database.execute(sql, list(values)) if values else database.execute(sql)
        columns = [column[0] for column in cursor.description or ()]
        return Answer(columns or None, cursor.fetchall() if columns else [], -1)


def _open_duckdb(duckdb: Any, path: str) -> Any:
    """A connection; one process at a time writes, so a locked file is waited for."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return duckdb.connect(path)
        except duckdb.IOException as error:
            if "lock" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)
