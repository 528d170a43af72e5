"""When a node may run, from the counts of how its upstreams ended.

A *gate* is one condition of a node over upstreams of one kind: its data edges, one `after` rule, the nodes that an
outcome watches, the members of a join. A gate sees counts only (success, failed, skipped, upstream_failed, still
open), never an order, so its verdict cannot depend on one; and each rule is written so that a verdict, once given,
stays the same whatever the open ones do. `specs` and the tests hold the table of all rules over two upstreams.

The node's own verdict is the worst of its gates: a failed one wins over a skipped one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

__all__ = ["FAIL", "PATIENT", "RULES", "RUN", "SKIP", "WAIT", "Rule"]

#: verdicts; the larger one wins, WAIT apart
WAIT, RUN, SKIP, FAIL = -1, 0, 1, 2

#: (successes, failed, skipped, upstream_failed, not ended, n) -> verdict. Cancelled and expired count as failed
Rule = Callable[[int, int, int, int, int, int], int]


def _ok(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if f or u:
        return FAIL
    return WAIT if w else SKIP if k else RUN


def _failed(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if s or k:
        return SKIP
    return WAIT if w else RUN


def _done(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    return WAIT if w else RUN


def _done_any_ok(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if k:
        return SKIP
    if w:
        return WAIT
    return RUN if s else FAIL


def _any_ok(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if s:
        return RUN
    if w:
        return WAIT
    return FAIL if f or u else SKIP


def _at_least(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if s >= n:
        return RUN
    if w:
        return WAIT
    return FAIL if f or u else SKIP


def _any_failed(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if f or u:
        return RUN
    return WAIT if w else SKIP


def _any_done(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if s or f:
        return RUN
    return WAIT if w else SKIP


def _none_failed(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if f or u:
        return FAIL
    return WAIT if w else RUN


def _none_failed_any_ok(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if f or u:
        return FAIL
    if w:
        return WAIT
    return RUN if s else SKIP


def _none_skipped(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if k:
        return SKIP
    return WAIT if w else RUN


def _skipped(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    if s or f or u:
        return SKIP
    return WAIT if w else RUN


def _always(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    return RUN


def _setups(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    """Of a tear-down, over its set-ups: there must be something to tear down."""
    if w:
        return WAIT
    if s:
        return RUN
    return FAIL if f or u else SKIP


def _join(s: int, f: int, k: int, u: int, w: int, n: int) -> int:
    """RUN once it is certain how the join ends, well or badly."""
    if s >= n or not w:
        return RUN
    return RUN if (f or u) and s + w < n else WAIT


#: by name: those of `ir.RuleName`, and the engine's own
RULES: Mapping[str, Rule] = {
    "ok": _ok,
    "failed": _failed,
    "done": _done,
    "done_any_ok": _done_any_ok,
    "any_ok": _any_ok,
    "any_failed": _any_failed,
    "any_done": _any_done,
    "none_failed": _none_failed,
    "none_failed_any_ok": _none_failed_any_ok,
    "none_skipped": _none_skipped,
    "skipped": _skipped,
    "always": _always,
    "at_least": _at_least,
    "setups": _setups,
    "join": _join,
}

#: rules that one more success does not decide while others are open
PATIENT = frozenset((_ok, _done, _done_any_ok, _any_failed, _none_failed, _none_failed_any_ok, _none_skipped, _setups))
