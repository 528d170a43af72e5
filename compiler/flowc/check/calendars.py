"""Days on which nothing starts: from a file of the project, or of a country by the library `holidays`.

A file is text with one ISO date at the beginning of each line (what follows is a comment; a CSV file may have a line of
headings), or an iCalendar file, of which every event's first day to its last counts.

A country's days are worked out for the years of `YEARS`, always the same ones: a plan says nothing of when it was made.
"""

from __future__ import annotations

import datetime as dt
import re

__all__ = ["YEARS", "CalendarError", "days_in", "days_of_country"]

#: of which the days of a country are known
YEARS = range(2020, 2046)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_PLACE = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")
#: longest event of a calendar that is meant
_MOST_DAYS = 366


class CalendarError(ValueError):
    """The days cannot be read; `hint` says what to do."""

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.hint = hint


def days_of_country(name: str) -> tuple[str, ...]:
    """The public holidays of a country, or of a part of it, in order. Raises CalendarError."""
    if _PLACE.fullmatch(name) is None:
        raise CalendarError(f'"{name}" is no country', 'write its ISO code: "DE", or "DE-BY" for a part of it')
    try:
        import holidays  # an optional library
    except ImportError:
        hint = "install it (`pip install flowc[holidays]`), or list the days in a file"
        raise CalendarError("the days of countries need the library `holidays`", hint) from None
    country, _, part = name.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=part or None, years=YEARS)
    except NotImplementedError:
        known = "a part" if part else "a country"
        raise CalendarError(f'the library `holidays` knows no days of "{name}"', f"name {known} that it knows, or "
                            "list the days in a file") from None  # fmt: skip
    return tuple(sorted(day.isoformat() for day in found))


def days_in(path: str, data: bytes) -> tuple[str, ...]:
    """The days in a file, in order. Raises CalendarError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CalendarError(f"`{path}` is no UTF-8 text") from None
    found = _calendar(path, text) if path.lower().endswith(".ics") else _lines(path, text)
    if not found:
        raise CalendarError(f"`{path}` has no dates in it", "write one ISO date a line: 2026-12-25")
    return tuple(sorted(found))


def _lines(path: str, text: str) -> set[str]:
    found: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        written = line.partition("#")[0].strip().strip('"')
        if not written:
            continue
        match = _DAY.match(written)
        day = _day(match[0]) if match is not None else None
        if day is not None:
            found.add(day.isoformat())
        elif number > 1 or not path.lower().endswith(".csv"):
            raise CalendarError(f"line {number} of `{path}` begins with no ISO date", "write it as 2026-12-25")
    return found


def _calendar(path: str, text: str) -> set[str]:
    """Of iCalendar: from DTSTART up to DTEND, which is not included."""
    found: set[str] = set()
    lines = re.sub(r"\r?\n[ \t]", "", text).splitlines()
    start: dt.date | None = None
    end: dt.date | None = None
    for line in lines:
        name, _, value = line.partition(":")
        key = name.partition(";")[0].upper()
        if key == "BEGIN" and value.strip().upper() == "VEVENT":
            start = end = None
        elif key in ("DTSTART", "DTEND"):
            day = _day(f"{value[:4]}-{value[4:6]}-{value[6:8]}")
            if day is None:
                raise CalendarError(f"`{path}` has a date that is none: {value[:20]}")
            start, end = (day, end) if key == "DTSTART" else (start, day)
        elif key == "RRULE":
            raise CalendarError(f"`{path}` has events that repeat", "export each year's events, or list the days")
        elif key == "END" and value.strip().upper() == "VEVENT" and start is not None:
            last = max(end or start, start + dt.timedelta(days=1))
            if (last - start).days > _MOST_DAYS:
                raise CalendarError(f"`{path}` has an event of more than a year, from {start}")
            found.update((start + dt.timedelta(days=i)).isoformat() for i in range((last - start).days))
    return found


def _day(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
