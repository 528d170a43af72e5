"""The lake: Parquet files in folders, one folder per stage, written and counted with DuckDB."""

from pathlib import Path
from typing import TypedDict

import duckdb


class Batch(TypedDict):
    """Some flights in a Parquet file."""

    name: str
    file: str
    rows: int


def write(query: str, parameters: list[object], out: str, stage: str, name: str) -> str:
    """Writes what a query gives to <out>/<stage>/<name>.parquet and returns that path.

    The file appears under its name only when it is whole, so that a task that is killed leaves nothing half done.
    """
    folder = Path(out, stage)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.parquet"
    unfinished = folder / f".{name}.parquet"
    with duckdb.connect() as database:
        database.execute(f"copy ({query}) to {_quoted(unfinished)} (format parquet)", parameters)
    unfinished.replace(target)
    return str(target)


def write_batch(query: str, parameters: list[object], out: str, stage: str, name: str) -> Batch:
    """As `write`, and counts the rows."""
    file = write(query, parameters, out, stage, name)
    return Batch(name=name, file=file, rows=count(file))


def count(file: str) -> int:
    with duckdb.connect() as database:
        [(rows,)] = database.execute("select count(*) from read_parquet(?)", [file]).fetchall()
    return rows


def _quoted(path: Path) -> str:
    """A path as an SQL string: COPY takes no parameter there."""
    return "'" + str(path).replace("'", "''") + "'"
