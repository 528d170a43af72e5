"""What a client raises beside TransportError, StoreError and ArgumentError. All are FlowErrors."""

from __future__ import annotations

from flowrun.errors import FlowError
from flowrun.messages import Failure, RunRecord

__all__ = ["Busy", "Refused", "RunFailed", "UnknownRun", "WaitTimeout"]


class Busy(FlowError):
    """There is no room for more submissions just now."""


class Refused(FlowError):
    """The partition refused what was asked for: the message says why. Nothing was changed."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        #: "unknown": there is no such run; "": any other reason
        self.code = code


class UnknownRun(FlowError):
    """There is no such run."""


class WaitTimeout(FlowError, TimeoutError):
    """The run had not ended in time; it goes on."""


class RunFailed(FlowError):
    """The run did not end well: it failed, was cancelled or expired. Its traceback, if it has one, is a note."""

    def __init__(self, record: RunRecord) -> None:
        super().__init__(_message(record))
        self.record = record
        if record.error is not None and record.error.detail:
            self.add_note(record.error.detail.rstrip())

    @property
    def failure(self) -> Failure | None:
        """What went wrong; None of a run that was cancelled."""
        return self.record.error


def _message(record: RunRecord) -> str:
    of = f" of `{record.flow}`" if record.flow else ""
    at = f" at `{record.failed_step}`" if record.failed_step else ""
    why = f": {record.error.type}: {record.error.message}" if record.error is not None else ""
    state = {"cancelled": "was cancelled"}.get(record.state, record.state)
    return f"run {record.run}{of} {state}{at}{why}"
