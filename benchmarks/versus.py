"""This system and its peers, side by side in one run: `python benchmarks/versus.py [--systems …] [--jobs …]`.

    single   tasks that do nothing, submitted one by one from one client, all results stored and read back; the peers
             get a quarter of them
    chain    a chain of 100 steps, each adds 1
    fused    the same chain, where a system may run several steps at one place without asking in between
    chord    tasks that do nothing, and a body that gets their results
    round    the round trip of one task on an idle system
    map      a task over many items, in chunks as the system offers them

Peers are installed into a virtual environment of their own (`peers/requirements.txt`), and every job starts servers,
workers and a client for itself, on 127.0.0.1 (`peers/session.py`). Each job runs on all systems before the next one,
the whole several times; the table has the medians. A job waits until nobody else keeps the machine busy, for at most
`--settle` seconds; of its outcomes those count that were not disturbed, if there are any. A whole run writes
`versus.json`, `versus.md` and `versus.svg` into `benchmarks/results/`; a part of it only with `--results`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from peers.environment import EnvironmentFailed, peers_environment
from peers.processes import settle
from peers.report import Report, facts
from peers.session import Outcome, measure
from peers.systems import SYSTEMS

#: job -> its count: tasks, chains, members, round trips, items
COUNTS = {"single": 20_000, "chain": 10, "fused": 10, "chord": 5_000, "round": 300, "map": 100_000}
#: a slow system gets a part of the single tasks: what counts is the rate
PEERS_SHARE = 0.25
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = _options()
    peers, problem = Path(), ""
    try:
        peers = peers_environment()
    except EnvironmentFailed as error:
        problem = str(error)
    counts = {job: COUNTS[job] for job in options.jobs} | (
        {"single": options.tasks} if "single" in options.jobs else {}
    )
    report = Report(facts(options.systems, peers), counts)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    for repeat in range(options.repeat):
        for job in options.jobs:
            for name in options.systems:
                if report.has_none(name, job):
                    continue
                settle(options.settle)
                outcome = _once(name, job, counts[job], peers, problem)
                report.add(name, job, outcome)
                print(f"# {repeat + 1}/{options.repeat} {report.line(name, job, outcome)}", flush=True)
    print(report.text())
    if options.results:
        report.save(options.results)
        print(f"# written: {options.results}/versus.json, versus.md, versus.svg")


def _once(name: str, job: str, count: int, peers: Path, problem: str) -> Outcome:
    system = SYSTEMS[name]
    if system.own:
        return measure(system, job, count, peers)
    if problem:
        return Outcome(problem=problem)
    return measure(system, job, int(count * PEERS_SHARE) if job == "single" else count, peers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names with commas between (default: %(default)s)")
    parser.add_argument("--jobs", default=",".join(COUNTS), help="names with commas between (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=COUNTS["single"], help="of `single` (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="times each job runs (default: %(default)s)")
    parser.add_argument("--settle", type=float, default=30.0, help="seconds to wait for quiet (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="folder to write to (default: benchmarks/results, if all ran)")
    options = parser.parse_args()
    for what, known in (("systems", SYSTEMS), ("jobs", COUNTS)):
        given = getattr(options, what).split(",")
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"unknown {what}: {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(options, what, given)
    whole = set(options.systems) == set(SYSTEMS) and set(options.jobs) == set(COUNTS)
    options.results = options.results or (RESULTS if whole else None)
    return options


if __name__ == "__main__":
    main()
