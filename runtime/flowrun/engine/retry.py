"""Whether an attempt is followed by another, and after how long."""

from __future__ import annotations

import hashlib

from flowc.plan import RetryPolicy

from flowrun.messages import Failure

__all__ = ["wait_ms"]


def wait_ms(policy: RetryPolicy | None, failures: int, attempt_id: str, failure: Failure) -> int | None:
    """Milliseconds until the next attempt after `failures` failed ones; None if there is none."""
    if policy is None or failures > policy.max or not failure.retryable:
        return None
    if policy.only and not any(_is(failure.type, kind) for kind in policy.only):
        return None
    if any(_is(failure.type, kind) for kind in policy.never):
        return None
    if failure.retry_after_ms is not None:
        return max(0, failure.retry_after_ms)
    wait = _backoff(policy, failures)
    return max(0, round(wait * (1 - policy.jitter) + wait * policy.jitter * _share(attempt_id)))


def _is(found: str, wanted: str) -> bool:
    """One name stands for the other: they are equal, or one is the last dotted part of the other."""
    return found == wanted or found.endswith("." + wanted) or wanted.endswith("." + found)


def _backoff(policy: RetryPolicy, failures: int) -> float:
    if policy.backoff == "fixed":
        wait = float(policy.first_ms)
    elif policy.backoff == "linear":
        wait = float(policy.first_ms * failures)
    else:
        # beyond 64 doublings any cap is reached, and a float would overflow
        wait = policy.first_ms * policy.factor ** min(failures - 1, 64)
    return wait if policy.cap_ms is None else min(wait, policy.cap_ms)


def _share(attempt_id: str) -> float:
    """A number from 0 to 1 that is the same for the same attempt."""
    return int.from_bytes(hashlib.blake2b(attempt_id.encode(), digest_size=4).digest(), "big") / 0xFFFF_FFFF
