"""The options of one submission: when, how urgent, and under which id."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from flowc.plan import Plan

from flowrun.engine.flow_keys import ExpressionError, flow_key
from flowrun.messages import Submit
from flowrun.parameters import ArgumentError
from flowrun.run_ids import RunIds, run_id_of_key

from .task_settings import milliseconds

__all__ = ["OPTIONS", "Options", "When", "with_flow_key"]

OPTIONS = ("key", "at", "delay", "expires", "priority", "run")

#: a moment, or how long from now on: seconds, text such as "1h30m", a timedelta
When = dt.datetime | dt.timedelta | float | str


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All of them may be left out. Durations are seconds, text such as "1h30m", or a timedelta."""

    #: the same key (of the same flow or task) is the same run, whoever submits it, for as long as results are kept
    key: str | None = None
    #: not before this moment
    at: dt.datetime | None = None
    #: not before so long from now
    delay: Any = None
    #: not begun by this moment, or so long after it might have, it ends as expired
    expires: Any = None
    #: 0 to 9, 9 first: of all steps that do not set one themselves
    priority: int | None = None
    #: an id of your own
    run: str | None = None

    def run_id(self, flow: str, ids: RunIds) -> str:
        """Raises ArgumentError."""
        if self.run is not None and self.key is not None:
            raise ArgumentError("a submission has a `key` or a `run` of its own, not both")
        if self.key is not None:
            if not isinstance(self.key, str) or not self.key:
                raise ArgumentError(f"`key` is a text that is not empty, and {self.key!r} is none")
            return run_id_of_key(flow, self.key)
        return ids.new() if self.run is None else self.run

    def at_ms(self, now_ms: int) -> int | None:
        """When it takes effect: milliseconds since 1970; None: at once. Raises ArgumentError."""
        if self.at is None and self.delay is None:
            return None
        if self.at is not None and self.delay is not None:
            raise ArgumentError("a submission has a time (`at`) or a `delay`, not both")
        found = now_ms + milliseconds("delay", self.delay) if self.at is None else _moment("at", self.at)
        return found if found > now_ms else None

    def expires_ms(self, from_ms: int) -> int:
        """When it is too late: milliseconds since 1970; 0: never. Raises ArgumentError."""
        if self.expires is None:
            return 0
        if isinstance(self.expires, dt.datetime):
            return _moment("expires", self.expires)
        return from_ms + max(milliseconds("expires", self.expires), 1)

    def apply(self, submit: Submit, from_ms: int) -> Submit:
        """The submission with what else the options say. Raises ArgumentError."""
        if self.priority is not None and (type(self.priority) is not int or not 0 <= self.priority <= 9):
            raise ArgumentError(f"`priority` is a whole number from 0 to 9, and {self.priority!r} is none")
        return msgspec.structs.replace(
            submit, expires_ms=self.expires_ms(from_ms), priority=self.priority, key=self.key or ""
        )


def with_flow_key(options: Options | None, plan: Plan, args: bytes) -> Options:
    """The options with the key that the flow makes of the encoded arguments, unless they name a key or a run. Raises
    ArgumentError."""
    options = options or Options()
    if options.key is not None or options.run is not None:
        return options
    try:
        key = flow_key(plan, args)
    except ExpressionError as error:
        raise ArgumentError(f"the `idempotency_key` of the flow `{plan.flow}` has no value: {error}") from error
    return msgspec.structs.replace(options, key=key) if key else options


def _moment(name: str, value: Any) -> int:
    if not isinstance(value, dt.datetime):
        raise ArgumentError(f"`{name}` takes a datetime, and {value!r} is none")
    if value.tzinfo is None:
        raise ArgumentError(f"`{name}` needs a time zone: {name}=datetime(…, tzinfo=UTC)")
    return round(value.timestamp() * 1000)
