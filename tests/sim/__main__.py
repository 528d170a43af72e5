"""Runs simulations.

python -m tests.sim --seeds 5000              seeds 0..4999, on two processes; ends with 1 if one found a violation
python -m tests.sim --seed 123 --verbose      one of them again, with all that happened in it
python -m tests.sim --break fencing           a broken engine: ends with 0 as soon as a seed found the violation
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator

from tests.support.seeded import run_seeded

from .broken import MUTANTS, broken
from .world import Ending, World, simulate

__all__ = ["main", "quiet"]


def _one(job: tuple[int, str | None, bool]) -> Ending:
    """What the simulation before left behind is thrown away first, and never in the middle of another one."""
    seed, mutant, verbose = job
    gc.collect()
    gc.disable()
    with broken(mutant):
        ending = simulate(World(seed))
    return ending.portable(verbose)


def _endings(seeds: range, mutant: str | None, jobs: int, verbose: bool) -> Iterator[Ending]:
    work = ((seed, mutant, verbose) for seed in seeds)
    if jobs == 1:
        yield from map(_one, work)
        return
    # what a simulation leaves behind, half-finished coroutines most of all, goes with its process
    with multiprocessing.get_context("fork").Pool(jobs, quiet, maxtasksperchild=25) as pool:
        yield from pool.imap(_one, work, chunksize=4)


def quiet() -> None:
    """Dead processes' coroutines are thrown away as they are, which Python finds worth telling."""
    gc.freeze()
    sys.unraisablehook = lambda unraisable: None
    warnings.simplefilter("ignore")
    logging.getLogger("flow").addHandler(logging.NullHandler())  # lines of the log are in the history
    logging.getLogger("flow").propagate = False


def _told(ending: Ending, verbose: bool) -> None:
    if verbose:
        print("\n".join(ending.lines))
    if ending.violation is not None:
        print(f"seed {ending.seed}: {ending.violation}")
    if ending.cause and verbose:
        print(ending.cause)


def _run(args: argparse.Namespace) -> int:
    began, found, count = time.monotonic(), 0, 0
    troubles: Counter[str] = Counter()
    runs = steps = 0
    seeds = range(args.seed, args.seed + 1) if args.seed is not None else range(args.first, args.first + args.seeds)
    for ending in _endings(seeds, args.mutant, 1 if args.seed is not None else args.jobs, args.verbose):
        count += 1
        runs, steps = runs + ending.runs, steps + ending.steps
        troubles.update(ending.troubles)
        if ending.violation is not None:
            found += 1
        if ending.violation is not None or args.seed is not None:
            _told(ending, args.verbose)
        if found and args.mutant:
            break
        if args.seed is None and count % 500 == 0:
            print(f"{count} seeds, {found} violations, {time.monotonic() - began:.0f} s", flush=True)
    told = ", ".join(f"{kind} {number}" for kind, number in sorted(troubles.items()))
    print(f"{count} seeds, {found} violations, {runs} runs, {steps} steps, {time.monotonic() - began:.1f} s; {told}")
    if args.mutant:
        print(f"`{args.mutant}` was {'caught' if found else 'not caught'} within {count} seeds")
        return 0 if found else 1
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.sim", description="Simulations of the distributed engine.")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="K", help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--verbose", action="store_true", help="tell all that happened")
    parser.add_argument("--break", dest="mutant", choices=sorted(MUTANTS), help="an engine with this defect")
    args = parser.parse_args()
    quiet()
    return _run(args)


if __name__ == "__main__":
    run_seeded("tests.sim", main)
