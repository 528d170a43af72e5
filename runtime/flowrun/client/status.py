"""How a run stands, and what runs there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from flowrun.messages import FlowPause, RunRecord, RunSummary, TriggerState

__all__ = ["Approval", "ApprovalList", "Rerun", "RunList", "RunStatus", "TriggerList"]


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands."""

    run: str
    #: "delayed": it waits for its time; "unseen": it was not seen to end, and no coordinator answers
    state: Literal["delayed", "unseen", "running", "success", "failed", "cancelled", "expired"]
    #: when its submission takes effect, if it is delayed: milliseconds since 1970
    at_ms: int | None = None
    #: of one that runs
    summary: RunSummary | None = None
    #: of one that ended
    record: RunRecord | None = None


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits for somebody's decision."""

    run: str
    flow: str
    #: as `approve` and `reject` take it
    step: str
    #: who should decide, and about what, as the flow says
    group: str
    title: str
    #: plain data; None: nothing is shown
    show: Any
    #: when it began to wait, and when its time is over (None: never), milliseconds since 1970
    since_ms: int
    until_ms: int | None = None


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What a rerun does."""

    #: the run whose results are taken over
    of: str
    flow: str
    #: steps that keep their end
    kept: tuple[str, ...]
    #: steps that run again, as a whole
    runs: tuple[str, ...]
    #: `each`es of which those items run again that did not end well
    items: tuple[str, ...]
    #: with a new plan: step -> why it is not the same work as before
    changed: dict[str, str]


class ApprovalList(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for somebody's decision: a sequence of `Approval`s."""

    #: the oldest first
    approvals: tuple[Approval, ...]
    #: partitions whose coordinator did not answer
    silent: tuple[str, ...]

    def __iter__(self) -> Iterator[Approval]:
        return iter(self.approvals)

    def __len__(self) -> int:
        return len(self.approvals)

    def __getitem__(self, place: int) -> Approval:
        return self.approvals[place]


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that have not ended."""

    #: the newest first
    runs: tuple[RunSummary, ...]
    #: how many there are, also of those that are left out
    total: int
    #: partitions whose coordinator did not answer
    silent: tuple[str, ...]
    #: flows that are paused
    paused: tuple[FlowPause, ...] = ()


class TriggerList(msgspec.Struct, frozen=True, kw_only=True):
    """What starts runs by itself: a sequence of `TriggerState`s."""

    #: by name
    triggers: tuple[TriggerState, ...]
    #: partitions whose coordinator did not answer
    silent: tuple[str, ...]

    def __iter__(self) -> Iterator[TriggerState]:
        return iter(self.triggers)

    def __len__(self) -> int:
        return len(self.triggers)

    def __getitem__(self, place: int) -> TriggerState:
        return self.triggers[place]
