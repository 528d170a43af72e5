"""What is told of the lineage of an ended run: what it read and updated, when, and how it ended."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from .manifest import DatasetUse
from .messages import RunRecord, RunState, Scheduled, StepRecord

__all__ = ["RunReport", "StepReport", "decode_reports", "encode_reports", "report_of"]


class StepReport(msgspec.Struct, frozen=True, array_like=True):
    """A step that reads or updates datasets, and was begun."""

    step: str
    #: of an `each`: all of its items were successes
    succeeded: bool
    #: what it read, and what its success updated
    reads: tuple[str, ...] = ()
    updates: tuple[str, ...] = ()
    error: str = ""


class RunReport(msgspec.Struct, frozen=True, array_like=True):
    """A run that ended, or has just begun ("running": then one step stands for all). It is stored: fields are only ever
    added at the end."""

    run: str
    flow: str
    state: RunState
    #: milliseconds since 1970
    started_ms: int
    ended_ms: int
    trigger: str
    scheduled: Scheduled | None
    error: str
    steps: tuple[StepReport, ...]
    #: that it began was told before
    begun: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[RunReport])


def report_of(record: RunRecord, uses: Iterable[DatasetUse], begun: bool = False) -> RunReport:
    """The report of a run whose steps use these datasets. `begun`: that it began was told before."""
    named: dict[str, list[DatasetUse]] = {}
    for use in uses:
        named.setdefault(use.step, []).append(use)
    rows: dict[str, list[StepRecord]] = {}
    for row in record.steps:
        if row.step in named and row.attempts:
            rows.setdefault(row.step, []).append(row)
    return RunReport(
        record.run,
        record.flow,
        record.state,
        record.started_ms,
        record.ended_ms,
        record.trigger,
        record.scheduled,
        record.error.message if record.error is not None else "",
        tuple(_step(name, found, named[name]) for name, found in rows.items()),
        begun,
    )


def _step(name: str, rows: list[StepRecord], uses: list[DatasetUse]) -> StepReport:
    updated = any(row.state == "success" for row in rows)
    return StepReport(
        name,
        all(row.state == "success" for row in rows),
        tuple(use.dataset for use in uses if use.use == "reads"),
        tuple(use.dataset for use in uses if use.use == "updates" and updated),
        next((row.error.message for row in rows if row.error is not None), ""),
    )


def encode_reports(reports: Iterable[RunReport]) -> bytes:
    return _encoder.encode(list(reports))


def decode_reports(data: bytes) -> list[RunReport]:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(data)
