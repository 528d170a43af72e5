"""How long steps can take, by what is declared: milliseconds, and their text."""

from __future__ import annotations

from flowc import ir

__all__ = ["attempts_ms", "backoff_ms", "shown_ms", "sum_of_attempts"]

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
#: waits that are added up; more are as long as the last one
_MOST = 1_000


def shown_ms(ms: int) -> str:
    """`1h30m`; nothing is `0s`."""
    parts: list[str] = []
    for unit, size in _UNITS:
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def backoff_ms(retry: ir.Retry | None) -> int:
    """All waits between attempts, if every one fails; without what jitter adds."""
    if retry is None:
        return 0
    waits = [_wait(retry, number) for number in range(min(retry.max, _MOST))]
    return round(sum(waits) + max(0, retry.max - _MOST) * (waits[-1] if waits else 0))


def _wait(retry: ir.Retry, number: int) -> float:
    wait = float(retry.first_ms)
    if retry.backoff == "linear":
        wait *= number + 1
    elif retry.backoff == "exponential":
        wait = min(wait * retry.factor ** min(number, 64), 1e15)
    return wait if retry.cap_ms is None else min(wait, retry.cap_ms)


def attempts_ms(settings: ir.Settings) -> int | None:
    """What all attempts of a step can take together, if each takes as long as it may; None where that is not said."""
    if settings.timeout_ms is None:
        return None
    count = 1 + (0 if settings.retry is None else settings.retry.max)
    return count * settings.timeout_ms + backoff_ms(settings.retry)


def sum_of_attempts(settings: ir.Settings) -> str:
    """`attempts_ms` as a sum: "4 × 20m + 3m30s backoff = 1h23m30s"."""
    assert settings.timeout_ms is not None
    count = 1 + (0 if settings.retry is None else settings.retry.max)
    backoff = backoff_ms(settings.retry)
    written = f"{count} × {shown_ms(settings.timeout_ms)}" + (f" + {shown_ms(backoff)} backoff" if backoff else "")
    return f"{written} = {shown_ms(attempts_ms(settings) or 0)}"
