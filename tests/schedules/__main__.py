"""Compares a year of ticks with two others, and lists what happens where clocks are changed.

python -m tests.schedules                     all six zones
python -m tests.schedules Europe/Berlin       one of them
python -m tests.schedules --croniter          also with croniter's own time zones (slow), on every day
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from .expressions import EXPRESSIONS, YEAR, ZONES
from .oracles import brute_force, by_croniter, clock_of
from .year import POLICIES, specials, year_of

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__.partition("\n")[0])
    parser.add_argument("--croniter", action="store_true", help="also with croniter's own time zones")
    parser.add_argument("zones", nargs="*", default=list(ZONES), help="time zones")
    options = parser.parse_args(arguments)
    wrong = sum([_zone(zone, with_croniter=options.croniter) for zone in options.zones])
    print(f"{YEAR}: {len(EXPRESSIONS)} expressions, {len(options.zones)} zones, {wrong} differences")
    return 1 if wrong else 0


def _zone(zone: str, *, with_croniter: bool) -> int:
    """Compares one zone; gives how many of its years differ from every minute of its clock."""
    wrong = count = 0
    for expression in EXPRESSIONS:
        for gap, overlap in POLICIES:
            ours = year_of(expression, zone, gap, overlap)
            count += len(ours)
            if ours != brute_force(expression, zone, gap, overlap):
                wrong += 1
                print(f"  DIFFERENT: {expression} with gap {gap}, overlap {overlap}")
    verdict = "equal to every minute of its clock" if not wrong else f"{wrong} years differ"
    print(f"{zone}: {count:,} ticks, {verdict}")
    _changes(zone)
    if with_croniter:
        _croniter(zone)
    print()
    return wrong


def _changes(zone: str) -> None:
    """The days on which the clock is changed, and the expressions that have a tick in what is lost or doubled."""
    tz = ZoneInfo(zone)
    for change in clock_of(zone).changes:
        before, after = (datetime.fromtimestamp(change * 60 + shift, UTC).astimezone(tz) for shift in (-60, 0))
        if after.year != YEAR:
            continue
        columns = "".join(f"{f'{gap}/{overlap}':>12}" for gap, overlap in POLICIES)
        print(
            f"  {after:%Y-%m-%d}: after {before:%H:%M%z} comes {after:%H:%M%z}; ticks from a day before to a day after"
        )
        print(f"    {'gap/overlap':<18}{columns}   around it, with run/once")
        found = [one for expression in EXPRESSIONS for one in specials(expression, zone) if one.change == change]
        for one in found:
            counts = "".join(f"{count:>12}" for count in one.counts)
            print(f"    {one.expression:<18}{counts}   {' '.join(one.shown)}")


def _croniter(zone: str) -> None:
    """Where croniter's own zones part from ours, with the policies that it has."""
    print("  croniter's own time zones, against gap: run, overlap: twice")
    for expression in EXPRESSIONS:
        ours, theirs = set(year_of(expression, zone, "run", "twice")), set(by_croniter(expression, zone))
        for name, minutes in (("croniter lacks", ours - theirs), ("croniter adds", theirs - ours)):
            if minutes:
                moments = [datetime.fromtimestamp(minute * 60, ZoneInfo(zone)) for minute in sorted(minutes)]
                shown = ", ".join(f"{moment:%m-%d %H:%M%z}" for moment in moments[:3])
                print(f"    {expression:<18} {name} {len(minutes)}: {shown}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
