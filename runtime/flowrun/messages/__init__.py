"""What travels: the events of an inbox, the bundles of the work stream, the record of an ended run, live notes.

Values are msgpack bytes (see `flowrun.values`); here they are opaque. Structs are array-like: fields are only ever
added at the end.
"""

from __future__ import annotations

from .deployed import MOST_WINDOWS, WINDOW_STATES, Arrived, Backfill, Deployed, Scheduled, SetVar, Tick
from .events import (
    Again,
    Begun,
    Cancel,
    Control,
    Decision,
    Event,
    Lost,
    Raised,
    Results,
    Signal,
    Submit,
    TakeOver,
    TimerFired,
)
from .listings import (
    Approval,
    BackfillState,
    FlowPause,
    Listing,
    Query,
    RunSummary,
    SlaCount,
    SlaMiss,
    TriggerRun,
    TriggerState,
)
from .notes import Answered, Ended, Holding, LogNote, Presence, Revoked, StateNote, StepNote, ToClient, Watch
from .packing import MAX_MESSAGE_BYTES, pack, pack_events, unpack, unpack_events, unpack_known_events, unpack_to_client
from .permits import Ask, AskHolders, Grant, Holder, Holds, QuotaDef, Release, Terms
from .records import AuditEntry, RunRecord, SlaMark, StepRecord
from .wire import MessageError, RunState, StepState
from .work import Bundle, Failure, Outcome, Replacement, Then, WorkItem

__all__ = [
    "Again",
    "Answered",
    "Approval",
    "Arrived",
    "Ask",
    "AskHolders",
    "AuditEntry",
    "Backfill",
    "BackfillState",
    "Begun",
    "Bundle",
    "Cancel",
    "Control",
    "Decision",
    "Deployed",
    "Ended",
    "Event",
    "Failure",
    "FlowPause",
    "Grant",
    "Holder",
    "Holding",
    "Holds",
    "Listing",
    "LogNote",
    "Lost",
    "MAX_MESSAGE_BYTES",
    "MOST_WINDOWS",
    "MessageError",
    "Outcome",
    "Presence",
    "Query",
    "QuotaDef",
    "Raised",
    "Release",
    "Replacement",
    "Results",
    "Revoked",
    "RunRecord",
    "RunState",
    "RunSummary",
    "Scheduled",
    "SetVar",
    "Signal",
    "SlaCount",
    "SlaMark",
    "SlaMiss",
    "StateNote",
    "StepNote",
    "StepRecord",
    "StepState",
    "Submit",
    "TakeOver",
    "Terms",
    "Then",
    "Tick",
    "TimerFired",
    "ToClient",
    "TriggerRun",
    "TriggerState",
    "WINDOW_STATES",
    "Watch",
    "WorkItem",
    "pack",
    "pack_events",
    "unpack",
    "unpack_events",
    "unpack_known_events",
    "unpack_to_client",
]
