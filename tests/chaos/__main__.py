"""Chaos with real processes.

python -m tests.chaos --minutes 10 --tasks 20000                  one server, three nodes
python -m tests.chaos --minutes 10 --scenario cluster --seed 7    three servers, three copies of every stream
python -m tests.chaos --minutes 10 --scenario ticks               flows that start by themselves, killed at ticks
python -m tests.chaos --check FOLDER                              checks a recorded run again

Ends with 1 if a promise was broken. What was recorded, the logs and the journal stay in the folder that it names.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import math
import random
import sys
import tempfile
from pathlib import Path

from .checker import check
from .history import History, read_history, write_history
from .report import as_json, as_text
from .ticks import as_text as as_text_of_ticks
from .ticks import judged, run_ticks
from .world import Wish, run_chaos

__all__ = ["main"]

_HISTORY = "history.msgpack"
_KILLS_PER_MINUTE = 11


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.chaos", description="Chaos with real processes.")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--tasks", type=int, default=4_000, help="submitted in that time, about")
    parser.add_argument("--kills", type=int, help=f"default: {_KILLS_PER_MINUTE} per minute")
    parser.add_argument("--seed", type=int, help="of the load and the troubles; default: a new one")
    parser.add_argument("--scenario", choices=["single", "cluster", "ticks"], default="single")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--folder", type=Path, help="for stores, logs, the journal; default: a new temporary one")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="of a run that was recorded")
    args = parser.parse_args()
    logging.getLogger("flow").addHandler(logging.NullHandler())  # what the client says of lost connections
    logging.getLogger("flow").propagate = False
    if args.scenario == "ticks":
        return _ticks(args)
    history = read_history(args.check / _HISTORY) if args.check else _record(args)
    found = check(history)
    report = as_json(history, found)
    print(as_text(report))
    if args.report is not None:
        args.report.write_text(json.dumps(report, indent=1))
    return 1 if found.violations else 0


def _ticks(args: argparse.Namespace) -> int:
    folder = args.folder or Path(tempfile.mkdtemp(prefix="flow-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(10**6) if args.seed is None else args.seed
    per_minute = _KILLS_PER_MINUTE if args.kills is None else args.kills / args.minutes
    print(f"seed {seed}, in {folder}", flush=True)
    found = asyncio.run(run_ticks(seed, 60 * args.minutes, per_minute, folder, functools.partial(print, flush=True)))
    wrong = judged(found)
    print(as_text_of_ticks(found, wrong))
    if args.report is not None:
        args.report.write_text(json.dumps({"seed": seed, "times": len(found.windows), "violations": wrong}, indent=1))
    return 1 if wrong else 0


def _record(args: argparse.Namespace) -> History:
    folder = args.folder or Path(tempfile.mkdtemp(prefix="flow-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    seed = random.randrange(10**6) if args.seed is None else args.seed
    kills = args.kills if args.kills is not None else math.ceil(_KILLS_PER_MINUTE * args.minutes)
    wish = Wish(seed=seed, seconds=60 * args.minutes, tasks=args.tasks, kills=kills, scenario=args.scenario)
    print(f"seed {seed}, in {folder}", flush=True)
    history = asyncio.run(run_chaos(wish, folder))
    write_history(folder / _HISTORY, history)
    return history


if __name__ == "__main__":
    sys.exit(main())
