"""Shell commands and SQL as tasks."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flowc import plan as plans
from flowc.types import BOOL, DATE, FLOAT, INT, JSON, STRING, ListOf, Optional, Record, Type
from flowrun.database import DatabaseError, run_sql
from flowrun.messages import Failure
from flowrun.operator import Connection
from flowrun.worker.shell import command_line
from flowrun.worker.sql import statement

from tests.unit.worker.harness import Worker, template, worker


def text(*parts: Any) -> list[Any]:
    return ["str", *(["lit", part] if isinstance(part, str) else part for part in parts)]


async def shell(running: Worker, line: Any, returns: Type | None = STRING, settings: Any = None, **args: Any) -> Any:
    plan, item = template("shell", line, returns, settings=settings, **args)
    (outcome,) = await running.run(plan, [item])
    return outcome.error if outcome.error is not None else running.value(outcome)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("a b", "'a b'"),
        ("; rm -rf /", "'; rm -rf /'"),
        ("it's", "'it'\"'\"'s'"),
        ("", "''"),
        (None, "''"),
        (5, "5"),
        (["a", "b c"], "a 'b c'"),
        ({"k": 1}, "'{\"k\":1}'"),
        (dt.date(2026, 1, 31), "2026-01-31"),
    ],
)
def test_values_are_quoted(value: object, word: str) -> None:
    assert command_line(text("echo ", ["arg", "x"], " end"), {"x": value}) == f"echo {word} end"


async def test_shell_results(tmp_path: Path) -> None:
    async with worker(tmp_path) as running:
        assert await shell(running, text("echo ", ["arg", "x"]), x='$HOME `id` "q"') == '$HOME `id` "q"'
        assert await shell(running, ["lit", "printf 'a\\n\\n'"]) == "a\n"
        assert await shell(running, ["lit", "echo 42"], INT) == 42
        assert await shell(running, ["lit", "echo '{\"a\": 1}'"], Record((("a", INT),))) == {"a": 1}
        assert await shell(running, ["lit", "pwd"]) == str(tmp_path)
        settings = plans.StepSettings(env=(("COLOUR", "blue"),))
        assert await shell(running, ["lit", "echo $COLOUR"], settings=settings) == "blue"
        assert await shell(running, ["lit", "echo seen; echo warned >&2"], None) is None
        async with asyncio.timeout(5):  # notes come beside results
            while not ("seen\n" in written(running, "out") and "warned\n" in written(running, "err")):
                await asyncio.sleep(0.01)


def written(running: Worker, stream: str) -> str:
    """All that tasks wrote; a note may hold what several wrote."""
    return "".join(note.text for note in running.logs if note.stream == stream)


async def test_shell_failures(tmp_path: Path) -> None:
    async with worker(tmp_path) as running:
        failure = await shell(running, ["lit", "echo no such thing >&2; exit 3"])
        assert isinstance(failure, Failure)
        assert (failure.type, failure.message) == ("ExitCode", "the command ended with exit code 3: no such thing")
        failure = await shell(running, ["lit", "false; echo went on"])
        assert failure.type == "ExitCode"
        failure = await shell(running, ["lit", "kill -9 $$"])
        assert failure.message == "the command was killed by signal 9"
        failure = await shell(running, ["lit", "echo x > /dev/null; yes | head -c 1000000 >&2; exit 1"])
        assert len(failure.message) < 2_000
        failure = await shell(running, ["lit", "echo words"], INT)
        assert (failure.type, failure.retryable) == ("TypeMismatch", False)
        assert "no JSON" in failure.message
        failure = await shell(running, ["lit", "sleep 60 & sleep 60"], settings=plans.StepSettings(timeout_ms=200))
        assert failure.type == "Timeout"


# ---- SQL ------------------------------------------------------------------------------------------------------------

KINDS = ["sqlite", "duckdb"]


def connection(kind: str, path: str = "data/x.db") -> plans.ConnectionDef:
    return plans.ConnectionDef(name="db", kind=kind, fields=(("path", ["lit", path]),))


async def sql(running: Worker, kind: str, query: Any, returns: Type | None = None, **args: Any) -> Any:
    plan, item = template(
        "sql", query if isinstance(query, list) else ["lit", query], returns, connection(kind), **args
    )
    (outcome,) = await running.run(plan, [item])
    return outcome.error if outcome.error is not None else running.value(outcome)


ROW = Record((("id", INT), ("name", Optional(STRING)), ("rate", FLOAT), ("day", DATE), ("good", BOOL)))


@pytest.mark.parametrize("kind", KINDS)
async def test_sql_results(tmp_path: Path, kind: str) -> None:
    async with worker(tmp_path) as running:
        create = """
            create table rows (id int, name text, rate double, day date, good boolean);
            insert into rows values (1, 'a; b', 1, '2026-01-31', true), (2, null, 2.5, '2026-02-01', false);
        """
        assert await sql(running, kind, create) is None
        assert (tmp_path / "data" / "x.db").exists()
        rows = await sql(running, kind, "select * from rows order by id", ListOf(ROW))
        assert rows == [
            {"id": 1, "name": "a; b", "rate": 1.0, "day": "2026-01-31", "good": True},
            {"id": 2, "name": None, "rate": 2.5, "day": "2026-02-01", "good": False},
        ]
        assert await sql(running, kind, "select id from rows order by id", ListOf(INT)) == [1, 2]
        assert await sql(running, kind, "select count(*) from rows", INT) == 2
        assert await sql(running, kind, "select sum(id) from rows", INT) == 3
        assert await sql(running, kind, "select * from rows where id = 1", ROW) == rows[0]
        assert await sql(running, kind, "select * from rows where id = 9", Optional(ROW)) is None
        assert await sql(running, kind, "select id, name from rows where id = 1", JSON) == [{"id": 1, "name": "a; b"}]
        insert = text("insert into rows (id, name) values (", ["arg", "i"], ", ", ["arg", "n"], ")")
        assert await sql(running, kind, insert, INT, i=3, n="x'); drop table rows; --") == 1
        assert await sql(running, kind, "select name from rows where id = 3", STRING) == "x'); drop table rows; --"
        named = text("select count(*) from ", ["ident", ["arg", "t"]])
        assert await sql(running, kind, named, INT, t="rows") == 3
        failure = await sql(running, kind, named, INT, t='rows"; drop table rows; --')
        assert isinstance(failure, Failure)


@pytest.mark.parametrize("kind", KINDS)
async def test_sql_failures(tmp_path: Path, kind: str) -> None:
    async with worker(tmp_path) as running:
        failure = await sql(running, kind, "select * from absent", ListOf(JSON))
        assert "absent" in failure.message
        failure = await sql(running, kind, "select 1 as a, 2 as b", INT)
        assert (failure.type, failure.retryable) == ("TypeMismatch", False)
        assert failure.message == "the query gave 2 columns (a, b), and `int` needs one"
        failure = await sql(running, kind, "select 1 where 1 = 0", INT)
        assert failure.message == "the query gave 0 rows, and a result of the type `int` needs one"


async def test_connections_that_cannot_be(tmp_path: Path) -> None:
    async with worker(tmp_path) as running:
        failure = await sql(running, "oracle", "select 1", INT)
        assert (failure.type, failure.retryable) == ("NotFound", False)
        assert "the task uses no database" in failure.message


def test_identifiers_and_parameters() -> None:
    query = text("select * from ", ["ident", ["lit", 'main.a"b']], " where x = ", ["arg", "x"])
    assert statement(query, {"x": [1]}) == ('select * from "main"."a""b" where x = ?', [[1]])


def test_values_for_sqlite(tmp_path: Path) -> None:
    one = Connection(name="db", kind="sqlite", fields={"path": ":memory:"})
    values = [dt.date(2026, 1, 31), Decimal("1.50"), dt.timedelta(seconds=90), {"a": [1]}]
    answer = run_sql(one, "select ?, ?, ?, ?", values, tmp_path)
    assert answer.rows == [("2026-01-31", "1.50", 90.0, '{"a":[1]}')]


def test_a_locked_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.database.BUSY_SECONDS", 0.1)
    one = Connection(name="db", kind="sqlite", fields={"path": "x.db"})
    run_sql(one, "create table t (a)", [], tmp_path)
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        run_sql(one, "insert into t values (1)", [], tmp_path)
    holder.close()
    run_sql(one, "insert into t values (1)", [], tmp_path)


def test_a_connection_without_a_path(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="has no path"):
        run_sql(Connection(name="db", kind="sqlite", fields={}), "select 1", [], tmp_path)
