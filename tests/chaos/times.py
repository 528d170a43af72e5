"""How long it took until others went on, after something had died. Milliseconds.

A time counts as *clean* if no other trouble that could lengthen it was on meanwhile; the targets are about those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from flowrun.messages import MessageError, Results, unpack_known_events

from .doubts import is_of_server
from .history import Effect, History, Trouble

__all__ = ["TARGETS", "TakeOver", "take_overs"]

#: seconds
TARGETS = {"leader killed": 3.0, "worker killed": 10.0, "server killed": 2.0}
#: a shorter pause takes nobody's lease away
_LONG_PAUSE_MS = 3_500.0


@dataclass(frozen=True)
class TakeOver:
    """What died, and how long it took until its work went on."""

    what: str
    took_ms: float
    clean: bool
    #: the partition, the attempt, the server
    where: str


def take_overs(history: History) -> list[TakeOver]:
    return [*_leaders(history), *_workers(history), *_servers(history)]


def _leaders(history: History) -> Iterator[TakeOver]:
    """From the kill of a leader to the next one being ready, for each partition that it led."""
    for trouble in history.troubles:
        paused = trouble.kind == "pause leader" and trouble.end_ms - trouble.begin_ms >= _LONG_PAUSE_MS
        if not paused and trouble.kind not in ("kill leader", "kill node"):
            continue
        for partition in trouble.partitions:
            later = [one.at_ms for one in history.lives if one.partition == partition and one.at_ms > trouble.begin_ms]
            if later:
                clean = _clean(history, trouble, min(later), ("executor", "worker"))
                what = "leader paused" if paused else "leader killed"
                yield TakeOver(what, min(later) - trouble.begin_ms, clean, f"partition {partition}")


def _workers(history: History) -> Iterator[TakeOver]:
    """From the kill of a worker to the moment in which what it had begun begins elsewhere."""
    begun: dict[tuple[str, int, int, int], list[Effect]] = defaultdict(list)
    over: set[tuple[str, int]] = set()
    for effect in history.effects:
        if effect.what == "begin":
            begun[effect.unit].append(effect)
        else:
            over.add((effect.id, effect.pid))
    for trouble in history.troubles:
        if trouble.kind != "kill worker":
            continue
        for effects in begun.values():
            for effect, following in pairwise(effects):
                held = effect.ppid == trouble.pid and (effect.id, effect.pid) not in over
                if held and effect.at_ms <= trouble.begin_ms < following.at_ms:
                    clean = _clean(history, trouble, following.at_ms, ("executor",))
                    yield TakeOver("worker killed", following.at_ms - trouble.begin_ms, clean, following.id)


def _servers(history: History) -> Iterator[TakeOver]:
    """From the moment in which a server answers again (one of a cluster: from its kill, for the others go on) to the
    stamp of the first result in any inbox."""
    stamps = sorted(message.time_ms for message in history.messages if _has_results(message.data))
    for trouble in history.troubles:
        if trouble.kind == "kill server":
            since = trouble.begin_ms if history.scenario == "cluster" else trouble.end_ms
            later = [stamp for stamp in stamps if stamp > since]
            if later:
                clean = _clean(history, trouble, later[0], ("executor",))
                yield TakeOver("server killed", later[0] - since, clean, trouble.target)


def _has_results(data: bytes) -> bool:
    try:
        events, _ = unpack_known_events(data)
    except MessageError:
        return False
    return any(isinstance(event, Results) for event in events)


def _clean(history: History, trouble: Trouble, until_ms: float, harmless: Sequence[str]) -> bool:
    """No other trouble was on, or over for less than two seconds."""
    since = trouble.begin_ms - 2_000
    for other in history.troubles:
        if other is trouble or other.kind.endswith((*harmless, "client")):
            continue
        if other.begin_ms <= until_ms and other.end_ms >= since:
            return False
    return not is_of_server(trouble) or trouble.kind == "kill server"
