"""The client: submits runs of flows and of single functions, waits for their results, watches and cancels them.

`Client` is asynchronous; `SyncClient` is its blocking face, for programs without an event loop.
"""

from .client import Client, TaskCall
from .errors import Busy, Refused, RunFailed, UnknownRun, WaitTimeout
from .events import RunEvents, note_of
from .run import Run
from .status import Approval, ApprovalList, Rerun, RunList, RunStatus, TriggerList
from .sync import SyncClient, SyncRun
from .variables import VariableInfo

__all__ = [
    "Client", "Run", "TaskCall",
    "SyncClient", "SyncRun",
    "Approval", "ApprovalList", "Rerun", "RunEvents", "RunList", "RunStatus", "TriggerList", "VariableInfo", "note_of",
    "Busy", "Refused", "RunFailed", "UnknownRun", "WaitTimeout",
]  # fmt: skip
