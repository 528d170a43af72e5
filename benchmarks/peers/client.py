"""One job of one system, in a process of its own: `python client.py MODULE JOB COUNT`.

A module (`celery_peer`, say) has the tasks and a dictionary `JOBS`: name -> function of a count. A job gives a `Done`;
it checks by itself that the results are right. What stands on standard output is read by `versus.py`, a line each:

    {"ready": true}                              after the warm-up: the count of CPU seconds starts
    {"seconds": [...], "items": ..., ...}        after the job
    {"error": "..."}                             instead, if something failed

and on standard input come a line to start the job and the end of the input to leave, so that the CPU time of this
process can be read before and after. Runs with nothing but the system's own packages.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["Done", "check", "in_chunks", "series"]

#: workers start one after the other: the warm-up goes on for this long after the first tasks came back, in seconds
_WARM_SECONDS = 2.0
_WARM_TASKS = 200

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Done:
    """What a job took."""

    #: seconds of the whole (one number), or of each round
    seconds: list[float]
    #: tasks that ran
    items: int
    #: what a number in `seconds` stands for: tasks, steps or round trips
    per: int


def check(what: str, found: object, expected: object) -> None:
    """Raises if a system gave a wrong result."""
    if found != expected:
        raise SystemExit(f"{what}: {found!r} instead of {expected!r}")


def series(once: Callable[[], None], rounds: int, per: int = 1) -> Done:
    """The same thing several times, each timed."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - start)
    return Done(seconds, rounds * per, per)


def in_chunks(items: list[T], size: int) -> list[list[T]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def main() -> None:
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    module, job, count = sys.argv[1:]
    try:
        jobs = importlib.import_module(module).JOBS
        if job not in jobs:
            _say({"none": True})
            return
        _warm_up(jobs, job)
        _say({"ready": True})
        sys.stdin.readline()
        _say(dataclasses.asdict(jobs[job](int(count))))
        sys.stdin.read()
    except (Exception, SystemExit) as error:  # whatever it is, the table tells it
        traceback.print_exc()
        _say({"error": f"{type(error).__name__}: {error}"})


def _warm_up(jobs: dict[str, Callable[[int], Done]], job: str) -> None:
    """Workers, connections and code paths: single tasks for a while, then the job itself, small."""
    jobs["single"](_WARM_TASKS)
    start = time.perf_counter()
    while time.perf_counter() - start < _WARM_SECONDS:
        jobs["single"](_WARM_TASKS)
    jobs[job]({"single": _WARM_TASKS, "chain": 2, "fused": 2, "chord": 100, "round": 20, "map": 10_000}[job])


def _say(message: dict[str, object]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
