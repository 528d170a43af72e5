"""The warehouse: an SQLite file."""

import datetime
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TypedDict

from etl.quality import is_bad

OUT = Path("out")


class Row(TypedDict):
    """One sale."""

    id: int
    amount: float


def load_table(table: str, rows: list[Row], day: datetime.date) -> int:
    """Replaces the rows of one day by way of a temporary table; gives their number."""
    OUT.mkdir(exist_ok=True)
    temporary = f"tmp_{day:%Y%m%d}"
    with closing(sqlite3.connect(OUT / "sales.db")) as database, database:
        database.execute(f'create table if not exists "{table}" (day text, id integer, amount real)')
        database.execute(f'drop table if exists "{temporary}"')
        database.execute(f'create table "{temporary}" (day text, id integer, amount real)')
        values = [(day.isoformat(), row["id"], row["amount"]) for row in rows]
        database.executemany(f'insert into "{temporary}" values (?, ?, ?)', values)
        database.execute(f'delete from "{table}" where day = ?', [day.isoformat()])
        database.execute(f'insert into "{table}" select * from "{temporary}"')
    return len(rows)


def quarantine(rows: list[Row], reason: str) -> list[Row]:
    """Puts the bad rows aside and gives the others."""
    OUT.mkdir(exist_ok=True)
    bad = [row for row in rows if is_bad(row)]
    Path(OUT, f"quarantine-{reason}.json").write_text(json.dumps(bad))
    return [row for row in rows if not is_bad(row)]
