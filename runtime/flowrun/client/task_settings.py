"""The settings of a task that is submitted without a flow, as Python has them: `queue="mail"`, `retry=3`,
`timeout="5m"`. They are named as in `.flow`, and those of `@task(...)` count too. A duration is a number of seconds, a
timedelta, or text such as "1h30m"."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from flowc.plan import CacheDef, ConcurrencyDef, LimitDef, PoolDef, RetryPolicy, StepSettings

from flowrun.parameters import ArgumentError, parse_duration, parse_size

__all__ = ["SETTINGS", "TaskSettings", "milliseconds", "read_settings", "unknown_setting"]

_RATE = re.compile(r"(\d+)\s*/\s*(\d*(?:ms|s|m|h|d))")
_BACKOFFS = ("fixed", "linear", "exponential")
_RETRY_FIELDS: dict[str, str] = {"first": "first_ms", "cap": "cap_ms", "except": "never"}
#: what Celery and others call them
_ELSEWHERE = {
    "countdown": "delay", "eta": "at", "max_retries": "retry", "retries": "retry", "default_retry_delay": "retry",
    "retry_backoff": "retry", "autoretry_for": "retry", "time_limit": "timeout", "soft_time_limit": "soft_timeout",
    "ignore_result": "result", "acks_late": "delivery",
    "rate_limit": "limit", "task_id": "run", "routing_key": "queue", "max_concurrency": "concurrency",
}  # fmt: skip


class TaskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan of one task says beside the task."""

    step: StepSettings
    pools: tuple[PoolDef, ...] = ()
    limits: tuple[LimitDef, ...] = ()
    #: the parameter whose value is the key of `step.concurrency`
    key: str | None = None
    #: the parameters whose values are the key of the cache, and the idempotency key
    cache_key: str | None = None
    idempotency_key: str | None = None
    #: the result is dropped where it is made
    drops_result: bool = False

    @property
    def keys(self) -> dict[str, str]:
        """The parameters that are keys, by setting."""
        found = {"concurrency": self.key, "cache": self.cache_key, "idempotency_key": self.idempotency_key}
        return {name: param for name, param in found.items() if param is not None}


def milliseconds(name: str, value: object) -> int:
    """A duration. Raises ArgumentError."""
    try:
        if isinstance(value, dt.timedelta):
            found = value.total_seconds() * 1000
        elif isinstance(value, str):
            found = parse_duration(value).total_seconds() * 1000
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = value * 1000.0
        else:
            raise ValueError
        if not 0 <= found < 2**53:
            raise ValueError
    except (ValueError, KeyError, OverflowError):
        raise ArgumentError(
            f'`{name}` takes a duration, and {value!r} is none: write seconds ({name}=30), text ({name}="1h30m") or a '
            "timedelta"
        ) from None
    return round(found)


def _whole(low: int, high: int | None = None) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            wanted = f"from {low}" + (f" to {high}" if high is not None else "")
            raise ArgumentError(f"`{name}` takes a whole number {wanted}, and {value!r} is none")
        return value

    return read


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ArgumentError(f'`{name}` takes a name, and {value!r} is none: write {name}="name"')
    return value


def _executor(name: str, value: Any) -> str:
    if value not in ("process", "thread", "async"):
        raise ArgumentError(f'`{name}` is "process", "thread" or "async", and {value!r} is none of them')
    return str(value)


def _memory(name: str, value: Any) -> int:
    try:
        found = parse_size(value) if isinstance(value, str) else _whole(1)(name, value)
    except (ValueError, KeyError):
        raise ArgumentError(f'`{name}` takes a size, and {value!r} is none: write {name}="512MiB"') from None
    return found


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ArgumentError(f"`{name}` is True or False, and {value!r} is neither")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ArgumentError(f"`{name}` takes a list of strings, and {value!r} is none")
    return tuple(value)


def _environment(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ArgumentError(f"`{name}` takes a dict of strings, and {value!r} is none")
    return tuple(value.items())


def _retry(name: str, value: Any) -> RetryPolicy:
    """`3`, or `{"max": 3, "backoff": "fixed", "first": "30s"}`."""
    if not isinstance(value, Mapping):
        return RetryPolicy(max=_whole(0)(name, value))
    readers: dict[str, Callable[[str, Any], Any]] = {
        "max": _whole(0), "first": milliseconds, "cap": milliseconds, "only": _texts, "except": _texts,
    }  # fmt: skip
    fields: dict[str, Any] = {}
    for key, given in value.items():
        if key in ("factor", "jitter"):
            fields[key] = float(given)
        elif key == "backoff" and given in _BACKOFFS:
            fields[key] = given
        elif key in readers:
            fields[_RETRY_FIELDS.get(key) or key] = readers[key](key, given)
        else:
            raise ArgumentError(
                f"`{name}` does not take {key}={given!r}: write {name}=3, or "
                f'{name}={{"max": 3, "backoff": "exponential", "first": "1s", "cap": "5m"}}'
            )
    if "max" not in fields:
        raise ArgumentError(f'`{name}` needs `max`, the attempts after the first: {name}={{"max": 3, …}}')
    return RetryPolicy(**fields)


def _at_most_once(name: str, value: Any) -> bool:
    if value not in ("at_least_once", "at_most_once"):
        raise ArgumentError(f'`{name}` is "at_least_once" or "at_most_once", and {value!r} is neither')
    return bool(value == "at_most_once")


#: setting -> (field of StepSettings, how it is read); `limit`, `pool` and `concurrency` are read apart
_READERS: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "queue": ("queue", _text),
    "priority": ("priority", _whole(0, 9)),
    "slots": ("slots", _whole(1)),
    "retry": ("retry", _retry),
    "timeout": ("timeout_ms", milliseconds),
    "soft_timeout": ("soft_timeout_ms", milliseconds),
    "deadline": ("deadline_ms", milliseconds),
    "delay": ("delay_ms", milliseconds),
    "expires": ("expires_ms", milliseconds),
    "executor": ("executor", _executor),
    "memory": ("memory", _memory),
    "max_tasks_per_process": ("max_tasks_per_process", _whole(1)),
    "env": ("env", _environment),
    "tags": ("tags", _texts),
    "idempotent": ("idempotent", _boolean),
    "delivery": ("at_most_once", _at_most_once),
}
SETTINGS = (*_READERS, "pool", "limit", "concurrency", "cache", "idempotency_key", "result")


def read_settings(given: Mapping[str, Any]) -> TaskSettings:
    """Raises ArgumentError, which says what is wrong and shows what is right."""
    fields: dict[str, Any] = {}
    pools: tuple[PoolDef, ...] = ()
    limits: tuple[LimitDef, ...] = ()
    keys: dict[str, str | None] = {}
    drops_result = False
    for name, value in given.items():
        if name in _READERS:
            field, read = _READERS[name]
            fields[field] = read(name, value)
        elif name == "pool":
            pools, fields["pool"] = (_pool(value),), 0
        elif name == "limit":
            limits, fields["limit"] = (_limit(value),), 0
        elif name == "concurrency":
            fields["concurrency"], keys["key"] = _concurrency(value)
        elif name == "cache":
            fields["cache"], keys["cache_key"] = _cache(value)
        elif name == "idempotency_key":
            keys["idempotency_key"] = _text(name, value)
        elif name == "result":
            drops_result = _ignored(value)
        else:
            raise unknown_setting(name)
    return TaskSettings(step=StepSettings(**fields), pools=pools, limits=limits, drops_result=drops_result, **keys)


def unknown_setting(name: str) -> ArgumentError:
    import difflib  # only a mistake pays for it

    known = (*SETTINGS, "key", "at", "run")
    close = difflib.get_close_matches(name, known, 1)
    meant = _ELSEWHERE.get(name) or (close[0] if close else "")
    hint = f"did you mean `{meant}`?" if meant else f"there are {', '.join(known)}"
    return ArgumentError(f"a task has no setting `{name}`: {hint}")


def _pool(value: Any) -> PoolDef:
    match value:
        case (str(name), int(slots)) if slots > 0:
            return PoolDef(name=name, slots=slots)
    raise ArgumentError(f'`pool` takes a name and its slots, and {value!r} is none: write pool=("database", 4)')


def _limit(value: Any) -> LimitDef:
    match value:
        case (str(name), str(rate)) if found := _RATE.fullmatch(rate):
            count, per = int(found[1]), found[2]
            per_ms = milliseconds("limit", per if per[0].isdigit() else f"1{per}")
            if count and per_ms:
                return LimitDef(name=name, rate=count, per_ms=per_ms, burst=count)
    raise ArgumentError(f'`limit` takes a name and a rate, and {value!r} is none: write limit=("api", "100/m")')


def _cache(value: Any) -> tuple[CacheDef, str | None]:
    """`"1d"`, or `{"key": "customer", "ttl": "1d"}`."""
    if not isinstance(value, Mapping):
        return CacheDef(ttl_ms=max(milliseconds("cache", value), 1)), None
    if "ttl" not in value or not value.keys() <= {"key", "ttl"}:
        raise ArgumentError(
            f'`cache` takes a duration, or a key and a ttl, and {value!r} is neither: write cache="1d", or '
            'cache={"key": "customer", "ttl": "1d"}, where `customer` is a parameter'
        )
    key = None if value.get("key") is None else _text("key", value["key"])
    return CacheDef(ttl_ms=max(milliseconds("ttl", value["ttl"]), 1)), key


def _ignored(value: Any) -> bool:
    if value not in ("keep", "ignore"):
        raise ArgumentError(f'`result` of a task is "keep" or "ignore", and {value!r} is neither')
    return bool(value == "ignore")


def _concurrency(value: Any) -> tuple[ConcurrencyDef, str | None]:
    match value:
        case int(limit) if limit > 0:
            return ConcurrencyDef(limit=limit), None
        case (int(limit), str(parameter)) if limit > 0:
            return ConcurrencyDef(limit=limit), parameter
    raise ArgumentError(
        f"`concurrency` takes a number, or a number and a parameter, and {value!r} is neither: write concurrency=1, or "
        'concurrency=(1, "customer") for one per customer'
    )
