"""Holds the record of a run against what the interpreter says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from flowc.lower.type_text import parse
from flowrun import values
from flowrun.messages import RunRecord

from .outcomes import Report

__all__ = ["differences"]

#: a step, and its place in each `each` around; one that is undone more than once has as many rows
_Key = tuple[str, tuple[int, ...]]


def differences(
    report: Report, record: RunRecord, returns: str | None, fetch: Callable[[str], bytes], *, attempts: bool = True
) -> list[str]:
    """Every way in which a run is not what it must be; `returns` is the flow's result type, `fetch` reads blobs.

    Times are not compared, nor the texts of messages, nor, on demand, numbers of attempts."""
    found: list[str] = []
    if record.state != report.state:
        found.append(f"the run is {record.state}, and must be {report.state}: {record.error} / {report.error}")
    elif report.state == "failed":
        got = (record.failed_step, record.error.type if record.error else None)
        want = (report.step, report.error.type if report.error else None)
        if got != want:
            found.append(f"failed by {got}, and must be by {want}")
    elif returns is not None:
        hidden = {"message"} if attempts else {"message", "attempts"}
        got, want = (_plain(value, returns, fetch, hidden) for value in (record.result, values.encode(report.value)))
        if got != want:
            found.append(f"the result is {got!r}, and must be {want!r}")
    return found + _rows(report, record, attempts)


def _plain(data: bytes, returns: str, fetch: Callable[[str], bytes], hidden: set[str]) -> Any:
    value = values.decode_plain(data, fetch)
    return None if value is None else _without(hidden, values.decode(data, parse(returns), fetch))


def _without(hidden: set[str], value: Any) -> Any:
    """The value without these parts of the failures in it."""
    if isinstance(value, list):
        return [_without(hidden, item) for item in value]
    if isinstance(value, dict):
        is_failure = value.keys() == {"step", "index", "type", "message", "attempts"}
        return {key: "" if is_failure and key in hidden else _without(hidden, item) for key, item in value.items()}
    return value


def _rows(report: Report, record: RunRecord, attempts: bool) -> list[str]:
    got, want = defaultdict[_Key, list[tuple[str, int]]](list), defaultdict[_Key, list[tuple[str, int]]](list)
    for row in record.steps:
        got[row.step, _index(row.index)].append((row.state, row.attempts if attempts else 0))
    for expected in report.rows:
        want[expected.step, expected.index].append((expected.state, expected.attempts if attempts else 0))
    for rows in (got, want):
        for step, index in list(rows):
            rows[step, index].sort()
            if any(part.covers(step, index) for part in report.open):
                del rows[step, index]
    keys = sorted({key for key in got.keys() | want.keys() if got.get(key) != want.get(key)})
    return [f"step {key}: {got.get(key)}, and must be {want.get(key)}" for key in keys]


def _index(index: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return () if index is None else (index,) if isinstance(index, int) else tuple(index)
