"""What is easily meant otherwise in the times of a trigger: a forgotten time zone, a star in the minutes, a time of day
that a change of the clock takes away or gives twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from flowc import ir, plan, syntax

from .durations import shown_ms
from .setting_values import Reader

__all__ = ["check_clock", "check_interval", "check_moments", "check_named_zone"]

#: changes of clocks that are looked at, always the same ones: milliseconds since 1970
_YEARS = (1_767_225_600_000, 1_924_992_000_000)  # 2026 to 2030
_SHORTEST_MS = 1_000
#: what a change of the clock does to a time of day
_SAID = {"gap": "is not there on the clock", "overlap": "comes twice"}


def check_named_zone(reader: Reader, node: syntax.Node, expression: str, zone: syntax.Expression | None) -> None:
    """Reports times of day without a time zone."""
    if zone is None and not expression.split()[1].startswith("*"):
        reader.place.report("cron-no-timezone", node)


def check_interval(reader: Reader, node: syntax.Node, every_ms: int) -> None:
    """Reports more than a run a second."""
    if every_ms < _SHORTEST_MS:
        what, hint = f"every {shown_ms(every_ms)}", "each run costs a start: do several rounds in one, with `repeat`"
        reader.place.report("cron-too-frequent", node, what=what, hint=hint)


def check_moments(
    reader: Reader, nodes: Sequence[syntax.Expression], written: syntax.Expression | None, zone: str
) -> None:
    """Reports moments by a clock that is not named, or at which it is changed. One with an offset is unmistakable."""
    from flowc.schedules import transitions  # start-up time

    for node in nodes:
        wall = dt.datetime.fromisoformat(str(node.value)) if isinstance(node, syntax.Literal) else None
        if wall is None or wall.tzinfo is not None:
            continue
        if written is None:
            reader.place.report("cron-no-timezone", node)
            return
        shown = round(wall.replace(tzinfo=dt.UTC).timestamp())
        for change in transitions(zone):
            first, last = sorted((change.from_local, change.to_local))
            if first <= shown < last:
                is_gap = change.to_local > change.from_local
                what = f"{wall:%Y-%m-%d %H:%M} " + _SAID["gap" if is_gap else "overlap"]
                hint = "write its distance from UTC: `2026-12-31T23:00+01:00`"
                reader.place.report("cron-dst-ambiguous", node, zone=zone, what=what, hint=hint)


def check_clock(reader: Reader, node: syntax.Node, source: ir.Cron, declared: set[str]) -> None:
    """Reports a star in the minutes of certain hours, and times of day that are not there once a year, or twice."""
    minute, hour, *days = source.expression.split()
    if minute == "*" and not hour.startswith("*"):
        what = f"60 times in each hour of `{hour}`"
        reader.place.report("cron-too-frequent", node, what=what, hint=f'write "0 {hour} {" ".join(days)}" for once')
        return
    from flowc.schedules import follows_clock  # start-up time

    if not follows_clock(source.expression):
        _check_changes(reader, node, source, declared)


def _check_changes(reader: Reader, node: syntax.Node, source: ir.Cron, declared: set[str]) -> None:
    """Asks for the ticks of a clock that is never changed, and looks which of them fall on a change."""
    from flowc.schedules import ticks, transitions  # start-up time

    wall = plan.CronSource(expression=source.expression, tz="UTC")
    found: dict[str, str] = {}
    for change in transitions(source.tz):
        if not _YEARS[0] <= change.at * 1000 < _YEARS[1]:
            continue
        kind = "gap" if change.to_local > change.from_local else "overlap"
        first, last = sorted((change.from_local, change.to_local))
        tick = next(ticks(wall, first * 1000 - 1), None)
        if tick is not None and tick < last * 1000 and kind not in declared and kind not in found:
            found[kind] = f"{dt.datetime.fromtimestamp(tick / 1000, dt.UTC):%Y-%m-%d %H:%M}"
    if found:
        what = " and ".join(f"{moment} {_SAID[kind]}" for kind, moment in found.items())
        hints = {"gap": '`gap: "run"` (at its end) or `"skip"`', "overlap": '`overlap: "once"` or `"twice"`'}
        hint = "say what is meant: " + ", ".join(hints[kind] for kind in found)
        reader.place.report("cron-dst-ambiguous", node, zone=source.tz, what=what, hint=hint)
