"""What became of service levels, as all partitions tell."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from flowrun.messages import Listing, SlaCount, SlaMiss

__all__ = ["SlaReport", "report_of"]


class SlaReport(msgspec.Struct, frozen=True, kw_only=True):
    """How often service levels were met and missed."""

    #: by flow and step
    counts: tuple[SlaCount, ...]
    #: the newest first
    misses: tuple[SlaMiss, ...]
    #: partitions whose coordinator did not answer
    silent: tuple[str, ...]


def report_of(answers: Iterable[Listing], silent: tuple[str, ...], limit: int) -> SlaReport:
    """The sum of what the partitions tell, with at most so many misses."""
    answers = list(answers)
    sums: dict[tuple[str, str, str], SlaCount] = {}
    for one in (count for answer in answers for count in answer.slas):
        key = (one.flow, one.step, one.what)
        sums[key] = _sum(sums[key], one) if key in sums else one
    misses = sorted((miss for answer in answers for miss in answer.misses), key=attrgetter("missed_ms"), reverse=True)
    return SlaReport(counts=tuple(sums[key] for key in sorted(sums)), misses=tuple(misses[:limit]), silent=silent)


def _sum(one: SlaCount, other: SlaCount) -> SlaCount:
    return msgspec.structs.replace(
        one, met=one.met + other.met, missed=one.missed + other.missed, warned=one.warned + other.warned,
        other=one.other + other.other,
    )  # fmt: skip
