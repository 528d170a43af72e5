"""`run: sql("…")`: statements on a SQLite or DuckDB database, declared as a connection that the task `uses`.

    connection db: duckdb { path: "warehouse.duckdb" }        connection db: sqlite { path: "state.db" }

Interpolated values are bound as parameters, a list as one (SQLite: as JSON); `ident(e)` is quoted as an identifier.
Several statements may stand in one text when nothing is bound; the result is that of the last. The declared type
says what the result is: `list<record>` all rows, `list<T>` of one column its values, a record the one row, `T?` null
if there is none; `int` of a statement that changes rows how many, any other type the one value. Without `returns`
nothing is read. The path is relative to the project's root; `:memory:` is a database of its own per call. A database
that another process has locked is waited for.
"""

from __future__ import annotations

import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from flowc.plan import Expr, TaskDef
from flowc.types import BOOL, DATE, DECIMAL, FLOAT, INT, JSON, ListOf, MapOf, Optional, Record, Type, text

from flowrun import expr
from flowrun.operator import Connection, Context

from .failures import TaskFailed, mismatch, not_found

__all__ = ["run_sql", "sql_operator", "statement"]

#: a locked database is waited for, in seconds
BUSY_SECONDS = 30.0


class Answer(NamedTuple):
    """What the last statement gave."""

    #: names of the columns; None: the statement gives no rows
    columns: list[str] | None
    rows: Sequence[Sequence[Any]]
    #: rows that it changed, or -1
    changed: int


def sql_operator(
    task: TaskDef, returns: Type | None, root: Path
) -> Callable[[Mapping[str, Any], Callable[[], Context]], Any]:
    """Runs the task's statements and gives what the declared type asks for."""
    assert task.template is not None, task.name
    template = task.template

    def operate(args: Mapping[str, Any], facts: Callable[[], Context]) -> Any:
        connections = facts().connections
        if not connections:
            raise not_found("the task uses no connection: add `uses: [db]`, where `db` is declared as a connection")
        sql, values = statement(template, args)
        answer = run_sql(next(iter(connections.values())), sql, values, root)
        return None if returns is None else _result(answer, returns)

    return operate


def statement(template: Expr, args: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The text with `?` for each value, and the values. Raises ExpressionError."""
    env = expr.Env(args=args)
    sql, values = "", []
    for part in template[1:] if template[0] == "str" else [template]:
        if part[0] == "lit" and isinstance(part[1], str):
            sql += part[1]
        elif part[0] == "ident":
            name = expr.show(expr.evaluate(part[1], env))
            sql += ".".join('"' + one.replace('"', '""') + '"' for one in name.split("."))
        else:
            sql += "?"
            values.append(expr.evaluate(part, env))
    return sql, values


def run_sql(connection: Connection, sql: str, values: Sequence[Any], root: Path) -> Answer:
    """Raises TaskFailed, and the database's own errors."""
    path = connection.fields.get("path")
    if not isinstance(path, str):
        raise not_found(f'the connection `{connection.name}` has no path: `{connection.kind} {{ path: "x.db" }}`')
    if path != ":memory:":
        path = str(root / path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    if connection.kind == "sqlite":
        return _sqlite(path, sql, values)
    if connection.kind == "duckdb":
        return _duckdb(path, sql, values)
    raise not_found(
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
        raise not_found("DuckDB is not installed for the workers: pip install 'flowc[duckdb]'") from None
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


# ---- results --------------------------------------------------------------------------------------------------------


def _result(answer: Answer, returns: Type) -> Any:
    kind = returns.inner if isinstance(returns, Optional) else returns
    if isinstance(kind, ListOf):
        return [_row(answer, row, kind.item) for row in answer.rows]
    if kind == JSON and answer.columns is not None:
        return [_row(answer, row, kind) for row in answer.rows]
    if answer.columns is None and answer.changed >= 0:
        return answer.changed
    if not answer.rows and isinstance(returns, Optional):
        return None
    if len(answer.rows) != 1:
        raise TaskFailed(
            mismatch(f"the query gave {len(answer.rows)} rows, and a result of the type `{text(returns)}` needs one")
        )
    return _row(answer, answer.rows[0], returns)


def _row(answer: Answer, row: Sequence[Any], kind: Type) -> Any:
    """A row as a record, or its only column."""
    inner = kind.inner if isinstance(kind, Optional) else kind
    columns = answer.columns or []
    if isinstance(inner, Record):
        fields = dict(inner.fields)
        return {name: _fit(value, fields.get(name, JSON)) for name, value in zip(columns, row, strict=True)}
    if isinstance(inner, MapOf) or inner == JSON:
        item = inner.item if isinstance(inner, MapOf) else JSON
        return {name: _fit(value, item) for name, value in zip(columns, row, strict=True)}
    if len(row) != 1:
        raise TaskFailed(
            mismatch(f"the query gave {len(row)} columns ({', '.join(columns)}), and `{text(kind)}` needs one")
        )
    return _fit(row[0], kind)


def _fit(value: Any, kind: Type) -> Any:
    """A value of the database as the declared type, where they differ only in form."""
    if isinstance(kind, Optional):
        kind = kind.inner
    if value is None:
        return None
    if kind == FLOAT and isinstance(value, Decimal | int):
        return float(value)
    if kind == INT and isinstance(value, Decimal | float) and value == int(value):
        return int(value)
    if kind == BOOL and value in (0, 1):
        return bool(value)
    if kind == DECIMAL and isinstance(value, int | float | str):
        return Decimal(str(value))
    if kind == DATE and isinstance(value, dt.datetime):
        return value.date() if value.time() == dt.time() else value
    if isinstance(kind, ListOf) and isinstance(value, list | tuple):
        return [_fit(item, kind.item) for item in value]
    return value
