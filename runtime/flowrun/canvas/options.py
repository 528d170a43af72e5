"""What Celery calls the options of tasks and of calls, and what they are here.

Options of a task become settings (see `client.task_settings`), which may also be given by their own names. Options of
a call say when, where and how urgently. What has no meaning here (how a message is serialised, when it is acknowledged)
is accepted, and changes nothing; what nobody knows is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from flowrun.parameters import ArgumentError

__all__ = ["CALL", "Retries", "call_settings", "checked_call", "moment_ms", "task_settings"]

#: of a call
CALL = ("queue", "countdown", "eta", "expires", "priority", "time_limit", "soft_time_limit")
#: accepted, without a meaning here
IGNORED = frozenset({
    "acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost", "serializer", "compression", "track_started",
    "store_errors_even_if_ignored", "send_events", "trail", "throws", "result_serializer", "backend", "connection",
    "producer", "publisher", "add_to_parent", "headers", "shadow", "exchange", "exchange_type", "routing_key",
    "delivery_mode", "mandatory", "immediate", "retry_policy", "reply_to", "pydantic", "typing", "strict_typing",
    "task_type", "chord_size", "root_id", "parent_id", "trailer_request", "interval",
})  # fmt: skip
#: settings of `.flow` that a task may have by their own names
_OWN = (
    "pool", "slots", "limit", "concurrency", "executor", "memory", "max_tasks_per_process", "env", "tags", "deadline",
    "idempotent", "timeout", "soft_timeout", "retry", "delay", "priority", "queue", "expires", "delivery", "cache",
    "idempotency_key", "result",
)  # fmt: skip
#: Celery's own defaults
_MAX_RETRIES, _RETRY_DELAY, _BACKOFF_MAX = 3, 180, 600
#: `max_retries=None`: for ever
_FOR_EVER = 1_000_000_000


class Retries:
    """How a task is tried again: `autoretry_for`, and `self.retry()`."""

    __slots__ = ("dont", "errors", "limit", "policy")

    def __init__(self, options: dict[str, Any], is_bound: bool) -> None:
        #: exceptions that are tried again without being asked to, and those that are not
        self.errors: tuple[type[BaseException], ...] = tuple(options.pop("autoretry_for", ()))
        self.dont: tuple[type[BaseException], ...] = tuple(options.pop("dont_autoretry_for", ()))
        more = dict(options.pop("retry_kwargs", {}))
        found = more.get("max_retries", options.pop("max_retries", _MAX_RETRIES))
        #: attempts after the first; None: for ever
        self.limit: int | None = found
        delay = more.get("countdown", options.pop("default_retry_delay", _RETRY_DELAY))
        backoff = options.pop("retry_backoff", False)
        cap, jitter = options.pop("retry_backoff_max", _BACKOFF_MAX), options.pop("retry_jitter", True)
        #: the setting `retry`; None: it is never tried again
        self.policy: dict[str, Any] | None = None
        if self.errors or is_bound:
            most = _FOR_EVER if found is None else found
            if backoff:
                self.policy = {"max": most, "backoff": "exponential", "first": float(backoff), "cap": cap}
                self.policy["jitter"] = 1.0 if jitter else 0.0
            else:
                self.policy = {"max": most, "backoff": "fixed", "first": delay}


def task_settings(name: str, options: Mapping[str, Any], retries: Retries) -> dict[str, Any]:
    """The settings of a task, from what its decorator was given besides. Raises ArgumentError."""
    settings: dict[str, Any] = {}
    for option, value in options.items():
        if option == "time_limit":
            settings["timeout"] = value
        elif option == "soft_time_limit":
            settings["soft_timeout"] = value
        elif option == "rate_limit":
            settings["limit"] = None if value is None else (name, _rate(value))
        elif option == "priority":
            settings["priority"] = None if value is None else _priority(value)
        elif option in _OWN:
            settings[option] = value
        elif option not in IGNORED:
            raise _unknown("a task", option, (*_OWN, *_CELERY))
    if retries.policy is not None:
        settings.setdefault("retry", retries.policy)
    return {option: value for option, value in settings.items() if value is not None}


#: of tasks, and what is read elsewhere
_CELERY = ("name", "bind", "base", "ignore_result", "autoretry_for", "dont_autoretry_for", "retry_kwargs",
           "max_retries", "default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_jitter", "time_limit",
           "soft_time_limit", "rate_limit")  # fmt: skip


def _rate(value: Any) -> str:
    """ "100/m"; a number is per second."""
    return f"{value:g}/s" if isinstance(value, int | float) else str(value)


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ArgumentError(f"`priority` takes a whole number from 0 to 9, and {value!r} is none")
    return min(value, 9)


def checked_call(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a call that mean something. Raises ArgumentError."""
    found = {}
    for option, value in options.items():
        if option in CALL:
            if value is not None:
                found[option] = value
        elif option not in IGNORED and option not in ("retry", "ignore_result"):
            raise _unknown("a call", option, (*CALL, "task_id", "link", "link_error", "immutable"))
    return found


def _unknown(what: str, option: str, known: tuple[str, ...]) -> ArgumentError:
    import difflib  # only a mistake pays for it

    close = difflib.get_close_matches(option, known, 1)
    hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"
    return ArgumentError(f"{what} has no option `{option}`: {hint}")


def moment_ms(name: str, value: Any) -> int:
    """A moment, milliseconds since 1970; one without a time zone is in UTC, as Celery has it. Raises ArgumentError."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, dt.datetime):
        raise ArgumentError(f"`{name}` takes a datetime, and {value!r} is none")
    return round((value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)).timestamp() * 1000)


def call_settings(options: Mapping[str, Any], milliseconds: Callable[[str, Any], int]) -> dict[str, Any]:
    """The options of a call as fields of `StepSettings`. `milliseconds` reads a duration. Raises ArgumentError."""
    fields: dict[str, Any] = {}
    for option, value in options.items():
        if option == "queue":
            fields["queue"] = str(value)
        elif option == "priority":
            fields["priority"] = _priority(value)
        elif option == "countdown":
            fields["delay_ms"] = milliseconds(option, value)
        elif option == "eta":
            fields["at_ms"] = moment_ms(option, value)
        elif option == "expires":
            if isinstance(value, dt.datetime):
                raise ArgumentError(
                    "`expires` of a call inside a canvas takes a duration: a moment holds for a run only"
                )
            fields["expires_ms"] = milliseconds(option, value)
        else:
            field = "timeout_ms" if option == "time_limit" else "soft_timeout_ms"
            fields[field] = milliseconds(option, value)
    return fields
