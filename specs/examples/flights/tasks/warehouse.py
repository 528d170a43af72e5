"""The warehouse: a DuckDB file, which one process writes or several read at a time (see the pool in warehouse.flow)."""

from pathlib import Path

import duckdb

from tasks.execution_log import recorded
from tasks.lake import Batch
from tasks.report import Chart, bars, lines


@recorded
def load(batch: Batch, out: str) -> int:
    """Replaces the days of a batch in the table `flights`; gives the number of rows. Running it again changes nothing."""
    with duckdb.connect(_path(out)) as database:
        database.begin()
        database.execute(
            "create table if not exists flights as select * from read_parquet(?) limit 0", [batch["file"]]
        )
        days = "select min(day) as first, max(day) as last from read_parquet(?)"
        database.execute(
            f"delete from flights using ({days}) b where flights.day between b.first and b.last", [batch["file"]]
        )
        database.execute("insert into flights select * from read_parquet(?)", [batch["file"]])
        database.commit()
    return batch["rows"]


@recorded
def by_carrier(out: str) -> Chart:
    rows = _query(
        out,
        """
        select airline, round(avg(departure_delay), 1), round(avg(arrival_delay), 1)
        from flights where not cancelled group by airline having count(*) >= 300 order by 3
        """,
    )
    return bars("Mean delay per airline, minutes", ["departure", "arrival"], rows)


@recorded
def by_month(out: str) -> Chart:
    rows = _query(
        out,
        """
        select strftime(day, '%b'), round(100 * avg((departure_delay > 15)::int), 1),
            round(100 * avg(cancelled::int), 1)
        from flights group by month(day), 1 order by month(day)
        """,
    )
    return lines("Late and cancelled per month, %", ["more than 15 minutes late", "cancelled"], rows)


@recorded
def by_hour(out: str) -> Chart:
    rows = _query(
        out,
        """
        select lpad(hour::text, 2, '0'), round(median(departure_delay), 1), round(quantile_cont(departure_delay, 0.9), 1)
        from flights where not cancelled group by hour order by hour
        """,
    )
    return lines("Departure delay by hour of the day, minutes", ["median", "worst tenth"], rows)


@recorded
def by_weather(out: str) -> Chart:
    rows = _query(
        out,
        """
        select case when rain > 0 then 'rain' when visibility < 5 then 'fog or haze' when wind_speed > 20 then 'wind'
                    else 'fair' end as sky,
            round(avg(departure_delay), 1), round(100 * avg(cancelled::int), 1)
        from flights where visibility is not null group by sky order by 2
        """,
    )
    return bars("Weather at departure", ["mean delay, minutes", "cancelled, %"], rows)


def _query(out: str, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(_path(out), read_only=True) as database:
        return database.execute(query).fetchall()


def _path(out: str) -> str:
    return str(Path(out, "flights.duckdb"))
