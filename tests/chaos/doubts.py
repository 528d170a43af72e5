"""What a worker may do wrong for a moment, because it was paused or cut off: the overlaps that the design allows.

A worker that is silent for `ack_wait` loses what it holds to another one. It gives it up by its own clock; but one that
was stopped cannot, and goes on when it wakes, until it looks at its clock: "overlaps for moments only". So an effect is
in doubt from the beginning of a trouble that hits its worker, its worker's way to the server, or the server, to
`GRACE_MS` after the trouble's end. What is wrong outside of that is a violation. A server that dies is no excuse for
running again what had succeeded: `strict` leaves those troubles out.

There is one exception to that. A server that is killed may forget that a bundle was acknowledged; the worker that has
dealt with it says so when it is back. If that worker is killed, paused or cut off as well, nobody can (`silenced`).
"""

from __future__ import annotations

from collections.abc import Iterable

from .history import Effect, Trouble

__all__ = ["GRACE_MS", "Doubts", "is_of_server"]

GRACE_MS = 3_000.0
#: a server that is killed forgets what it was told so shortly before
_FORGETS_MS = 5_000.0
#: that hit a node's way to the servers, or all of a node
_WAYS = ("cut", "stall", "kill node")
#: that hit one process
_PROCESSES = ("pause worker", "kill worker")


def is_of_server(trouble: Trouble) -> bool:
    return trouble.kind in ("kill server", "pause server", "slow disk")


class Doubts:
    def __init__(self, troubles: Iterable[Trouble]) -> None:
        self._troubles = sorted(troubles, key=lambda one: one.begin_ms)

    def about(self, effect: Effect, at_ms: float, *, strict: bool = False) -> Trouble | None:
        """The trouble that puts in doubt what this worker does at that time."""
        for trouble in self._troubles:
            if trouble.begin_ms > at_ms:
                return None
            if at_ms <= trouble.end_ms + GRACE_MS and _hits(trouble, effect) and not (strict and is_of_server(trouble)):
                return trouble
        return None

    def silenced(self, done: Effect, again_ms: float) -> Trouble | None:
        """The trouble that kept the worker of an effect from saying, after a server was killed, that it is done."""
        servers = [one for one in self._troubles if one.kind == "kill server" and one.end_ms > done.at_ms - GRACE_MS]
        for server in servers:
            since = server.begin_ms - _FORGETS_MS
            for trouble in self._troubles:
                hits = trouble.begin_ms <= again_ms and trouble.end_ms >= since and not is_of_server(trouble)
                if server.begin_ms <= again_ms and hits and _hits(trouble, done):
                    return trouble
        return None

    def until(self, effect: Effect, from_ms: float, to_ms: float, more_ms: float) -> float:
        """Until when something may last that should be over at `to_ms`: troubles of its worker, of leaders and servers
        between add themselves and `more_ms`."""
        for trouble in self._troubles:
            if trouble.begin_ms > to_ms:
                break
            concerns = _hits(trouble, effect) or is_of_server(trouble) or trouble.partitions
            if trouble.end_ms >= from_ms - more_ms and (concerns or trouble.kind in ("cut", "stall")):
                to_ms = max(to_ms, trouble.end_ms + more_ms)
        return to_ms


def _hits(trouble: Trouble, effect: Effect) -> bool:
    if is_of_server(trouble):
        return True
    if trouble.kind in _WAYS:
        return trouble.target == effect.node
    return trouble.kind in _PROCESSES and trouble.pid == effect.ppid
