"""The times of triggers: time zones, days without, moments, and whether a cron expression is one.

The calendar libraries are loaded only where a trigger needs them.
"""

from __future__ import annotations

import datetime as dt

from flowc import ir, plan, syntax
from flowc.types import ERROR

from .calendars import CalendarError, days_in, days_of_country
from .constants import plain
from .setting_values import Reader

__all__ = ["checked_grid", "holidays_of", "moment", "zone_of"]


def zone_of(reader: Reader, node: syntax.Expression | None, *, is_silent: bool = False) -> str | None:
    """The name of a time zone; UTC where none is written. None after a finding (none, where it is told elsewhere)."""
    if node is None:
        return "UTC"
    if is_silent:
        written = node.value if isinstance(node, syntax.Literal) else None
        return written if isinstance(written, str) and _is_zone(written) else "UTC"
    value = reader.constant(node, "tz")
    if value is None:
        return None
    name = value.expr[1] if value.expr[0] == "lit" else None
    if not isinstance(name, str) or not _is_zone(name):
        from flowc.schedules import zone_hint  # start-up time

        hint = zone_hint(name) if isinstance(name, str) else 'write `tz: "Europe/Berlin"`'
        reader.place.report("unknown-time-zone", node, name=name, hint=hint)
        return None
    return name


def _is_zone(name: str) -> bool:
    from flowc.schedules import ScheduleError, zone  # start-up time

    try:
        zone(name)
    except ScheduleError:
        return False
    return True


def moment(reader: Reader, node: syntax.Expression, key: str, zone: str | None) -> int | None:
    """A time or a day in a time zone, milliseconds since 1970; one with an offset is where it says."""
    value = reader.constant(node, key)
    if value is None:
        return None
    match value.expr:
        case ["date" | "datetime", str(text)]:
            from flowc.schedules import moment_of  # start-up time

            return moment_of(dt.datetime.fromisoformat(text), zone or "UTC")
    reader.wrong(node, key, "a day or a time", reader.place.source_text(node), "write `2026-12-31T23:00`")
    return None


def checked_grid(reader: Reader, node: syntax.Node, source: ir.Cron) -> ir.Cron | None:
    """The source, if it has times at all."""
    from flowc.schedules import ScheduleError, check  # start-up time

    try:
        check(plan.CronSource(**source.model_dump(exclude={"kind"})))
    except ScheduleError as error:
        reader.place.report(error.finding, node, problem=str(error), hint=error.hint)
        return None
    return source


def holidays_of(reader: Reader, node: syntax.Expression) -> tuple[str, ...] | None:
    """Days without, in order: `[2026-12-24]`, the path of a file with such days, or a country ("DE", "DE-BY")."""
    value = reader.constant(node, "holidays")
    if value is None or value.type == ERROR:
        return None
    try:
        found = plain(value.expr)
        if isinstance(found, list) and all(_is_day(item) for item in found):
            return tuple(sorted(set(found)))
        if not isinstance(found, str):
            raise ValueError("it is neither a list of dates nor a text")
        if "." not in found and "/" not in found:
            return days_of_country(found)
        data = reader.place.shared.read(reader.place.module, found)
        if data is None:
            raise CalendarError(f"there is no file `{found}`", "its path is relative to the file that names it")
        return days_in(found, data)
    except ValueError as error:
        hint = getattr(error, "hint", "") or 'write dates, a file of dates, or a country: "DE", "DE-BY"'
        reader.place.report("invalid-holidays", node, problem=str(error), hint=hint)
        return None


def _is_day(item: object) -> bool:
    if not isinstance(item, str):
        return False
    try:
        return dt.date.fromisoformat(item).isoformat() == item
    except ValueError:
        return False
