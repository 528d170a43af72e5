"""One day of flights at a time: what a schedule runs every morning, and a backfill for every day of the past."""

import datetime
import os
from pathlib import Path

import duckdb

from tasks.execution_log import recorded
from tasks.extract import unpack_to
from tasks.lake import Batch, write, write_batch


@recorded
def open_archive(out: str) -> str:
    """All flights in one Parquet file, in the order of their days; gives its path. Whoever comes first makes it: two at
    the same time make the same file, and the last one stays."""
    target = Path(out, "raw", "flights.parquet")
    if not target.exists():
        name = f"flights-{os.getpid()}"
        source = unpack_to(Path(out, "raw", f"{name}.csv"))
        query = "select * from read_csv(?, nullstr = ['NA', '']) order by year, month, day"
        made = write(query, [str(source)], out, "raw", name)
        source.unlink()
        Path(made).replace(target)
    return str(target)


@recorded
def extract_day(archive: str, day: datetime.date, out: str) -> Batch:
    """The flights of one day, as they are."""
    query = "select * from read_parquet(?) where year = ? and month = ? and day = ?"
    return write_batch(query, [archive, day.year, day.month, day.day], out, "extracted", day.isoformat())


@recorded
def load_day(batch: Batch, day: datetime.date, out: str) -> int:
    """Replaces one day of the table `flights`; gives the number of rows. Running it again changes nothing."""
    with duckdb.connect(str(Path(out, "daily.duckdb"))) as database:
        database.begin()
        database.execute(
            "create table if not exists flights as select * from read_parquet(?) limit 0", [batch["file"]]
        )
        database.execute("delete from flights where day = ?", [day])
        database.execute("insert into flights select * from read_parquet(?)", [batch["file"]])
        database.commit()
    return batch["rows"]
