"""Clean, enrich, check, and set aside what is bad."""

from typing import TypedDict

import duckdb

from tasks.execution_log import recorded
from tasks.lake import Batch, write, write_batch

#: a flight that took off and of which no arrival was recorded (diverted, mostly)
BAD = "not cancelled and arrival_delay is null"


class Reference(TypedDict):
    """The Parquet files that flights are joined with."""

    planes: str
    airports: str
    airlines: str
    weather: str


class Quality(TypedDict):
    """What the check found."""

    rows: int
    bad: int
    cancelled: int
    unknown_planes: int


@recorded
def clean(part: list[Batch], out: str) -> Batch:
    """Some months in one file: no duplicates, real dates, names that say what a column is."""
    query = """
        select distinct
            make_date(year, month, day) as day,
            hour,
            carrier,
            flight as flight_number,
            tailnum as plane,
            origin,
            dest as destination,
            dep_time is null as cancelled,
            dep_delay as departure_delay,
            arr_delay as arrival_delay,
            air_time as minutes_in_air,
            distance as miles
        from read_parquet(?)
        order by day, hour, carrier, flight_number
    """
    files = [batch["file"] for batch in part]
    name = f"{part[0]['name']}..{part[-1]['name']}"
    return write_batch(query, [files], out, "clean", name)


@recorded
def enrich(batch: Batch, reference: Reference, out: str) -> Batch:
    """Adds the airline's and the destination's name, the plane's age and size, and the weather at departure."""
    query = """
        select f.*,
            coalesce(l.name, f.carrier) as airline,
            coalesce(a.name, f.destination) as destination_name,
            year(f.day) - p.year as plane_age,
            p.seats,
            w.wind_speed,
            w.precip as rain,
            w.visib as visibility
        from read_parquet(?) f
        left join read_parquet(?) l on l.carrier = f.carrier
        left join read_parquet(?) a on a.faa = f.destination
        left join read_parquet(?) p on p.tailnum = f.plane
        left join (
            select make_date(year, month, day) as day, hour, origin,
                any_value(wind_speed) as wind_speed, any_value(precip) as precip, any_value(visib) as visib
            from read_parquet(?) group by all
        ) w on w.origin = f.origin and w.day = f.day and w.hour = f.hour
    """
    tables = [reference[name] for name in ("airlines", "airports", "planes", "weather")]
    return write_batch(query, [batch["file"], *tables], out, "enriched", batch["name"])


@recorded
def check_quality(batches: list[Batch], out: str) -> Quality:
    """Counts what the branch after it decides on."""
    query = f"""
        select count(*), count(*) filter ({BAD}), count(*) filter (cancelled), count(*) filter (seats is null)
        from read_parquet(?)
    """
    with duckdb.connect() as database:
        [(rows, bad, cancelled, unknown)] = database.execute(query, [[batch["file"] for batch in batches]]).fetchall()
    return Quality(rows=rows, bad=bad, cancelled=cancelled, unknown_planes=unknown)


@recorded
def quarantine(batch: Batch, out: str) -> Batch:
    """Puts the bad rows aside for a person to look at, and gives the good ones."""
    write(f"select * from read_parquet(?) where {BAD}", [batch["file"]], out, "quarantine", batch["name"])
    good = f"select * from read_parquet(?) where not ({BAD})"
    return write_batch(good, [batch["file"]], out, "accepted", batch["name"])
