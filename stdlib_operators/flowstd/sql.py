"""std.sql: statements that are made at run time, on SQLite and DuckDB."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from flowrun.database import KINDS, run_sql
from flowrun.operator import Connection, Fail

__all__ = ["execute", "query"]


def query(database: str, statement: str, parameters: list[Any]) -> list[Any]:
    """The rows that a query gives, as records; decimals come as floats."""
    answer = run_sql(_connection(database), statement, parameters, Path.cwd())
    return [dict(zip(answer.columns or (), map(_plain, row), strict=True)) for row in answer.rows]


def execute(database: str, statement: str, parameters: list[Any]) -> int:
    """The number of rows that the last statement changed; 0 if it changes none."""
    answer = run_sql(_connection(database), statement, parameters, Path.cwd())
    if answer.columns == ["Count"] and len(answer.rows) == 1:  # how DuckDB tells it
        return int(answer.rows[0][0])
    return max(answer.changed, 0)


def _connection(database: str) -> Connection:
    kind, colon, path = database.partition(":")
    if not colon or kind not in KINDS:
        raise Fail(f'`{database}` names no database: write "sqlite:path" or "duckdb:path"')
    return Connection(name=database, kind=kind, fields={"path": path})


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
