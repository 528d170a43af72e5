"""The trigger rules over upstreams that have all ended, each written from the sentence that explains it.

Independent of the engine's rules on purpose: those decide early, from counts; these see all states at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["FAILED", "RUN", "SKIPPED", "SUCCESS", "UPSTREAM_FAILED", "verdict", "worst"]

SUCCESS, FAILED, SKIPPED, UPSTREAM_FAILED = "success", "failed", "skipped", "upstream_failed"
#: the verdict of a rule: RUN, or the state of the step that does not run
RUN = "run"

States = Sequence[str]


def _bad(states: States) -> bool:
    return FAILED in states or UPSTREAM_FAILED in states


def _if(condition: bool, otherwise: str) -> str:
    return RUN if condition else otherwise


_RULES: dict[str, Callable[[States], str]] = {
    # all succeeded; a failure is passed on, and beats a skip
    "ok": lambda s: UPSTREAM_FAILED if _bad(s) else _if(SKIPPED not in s, SKIPPED),
    # none failed; skipped ones do not matter
    "none_failed": lambda s: UPSTREAM_FAILED if _bad(s) else RUN,
    "none_failed_any_ok": lambda s: UPSTREAM_FAILED if _bad(s) else _if(SUCCESS in s, SKIPPED),
    # all failed, themselves or by an upstream
    "failed": lambda s: _if(SUCCESS not in s and SKIPPED not in s, SKIPPED),
    "done": lambda s: RUN,
    "always": lambda s: RUN,
    "done_any_ok": lambda s: SKIPPED if SKIPPED in s else _if(SUCCESS in s, UPSTREAM_FAILED),
    # one success is enough; without one a failure is passed on
    "any_ok": lambda s: RUN if SUCCESS in s else UPSTREAM_FAILED if _bad(s) else SKIPPED,
    "any_failed": lambda s: _if(_bad(s), SKIPPED),
    # one ran: it succeeded or failed
    "any_done": lambda s: _if(SUCCESS in s or FAILED in s, SKIPPED),
    "none_skipped": lambda s: _if(SKIPPED not in s, SKIPPED),
    "skipped": lambda s: _if(set(s) == {SKIPPED}, SKIPPED),
}


def verdict(rule: str, states: States, n: int | None = None) -> str:
    """RUN, SKIPPED or UPSTREAM_FAILED."""
    if not states:
        return RUN
    if rule == "at_least":
        if sum(state == SUCCESS for state in states) >= (n or 0):
            return RUN
        return UPSTREAM_FAILED if _bad(states) else SKIPPED
    return _RULES[rule](states)


def worst(verdicts: Sequence[str]) -> str:
    """All conditions must allow a step; a failed one wins over a skipped one."""
    return next((found for found in (UPSTREAM_FAILED, SKIPPED) if found in verdicts), RUN)
