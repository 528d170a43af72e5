"""`run: sql("…")`: statements on a SQLite or DuckDB database, declared as a connection that the task `uses`.

    connection db: duckdb { path: "warehouse.duckdb" }        connection db: sqlite { path: "state.db" }

The first database in `uses` is taken; see `flowrun.database` for what both understand. Interpolated values are bound
as parameters, a list as one; `ident(e)` is quoted as an identifier. The declared type says what the result is:
`list<record>` all rows, `list<T>` of one column its values, a record the one row, `T?` null if there is none; `int` of
a statement that changes rows how many, any other type the one value. Without `returns` nothing is read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from flowc.plan import Expr, TaskDef
from flowc.types import BOOL, DATE, DECIMAL, FLOAT, INT, JSON, ListOf, MapOf, Optional, Record, Type, text

from flowrun import expr
from flowrun.database import KINDS, Answer, run_sql
from flowrun.operator import Context

from .failures import TaskFailed, mismatch, not_found

__all__ = ["sql_operator", "statement"]


def sql_operator(
    task: TaskDef, returns: Type | None, root: Path
) -> Callable[[Mapping[str, Any], Callable[[], Context]], Any]:
    """Runs the task's statements and gives what the declared type asks for."""
    assert task.template is not None, task.name
    template = task.template

    def operate(args: Mapping[str, Any], facts: Callable[[], Context]) -> Any:
        connections = list(facts().connections.values())
        database = next((one for one in connections if one.kind in KINDS), None)
        if database is None:
            raise not_found(
                "the task uses no database: add `uses: [db]`, where `db` is declared as "
                '`connection db: duckdb { path: "x.duckdb" }` or `sqlite`'
            )
        sql, values = statement(template, args)
        answer = run_sql(database, sql, values, root)
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
