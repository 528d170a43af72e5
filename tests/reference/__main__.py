"""Random programs against the naive interpreter.

python -m tests.reference --programs 20000                    on the engine alone, in random order
python -m tests.reference --programs 20000 --crashes          in a simulation where processes die all the time
python -m tests.reference --programs 600 --crashes --nats     over NATS, in batches, where parts of the node die
python -m tests.reference --seed 123 --crashes --shrink       one of them again, and the smallest that fails like it

It ends with 1 if one of them ended wrong; that one is shown with its seed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.sim.__main__ import quiet
from tests.sim.ordeal import ordeal, source_of
from tests.sim.programs import ROOT, NotCompiled, compiled
from tests.support.seeded import run_seeded

from .behaviours import DECLARATIONS
from .compare import differences
from .direct import Direct
from .on_nats import Fragile
from .programs import Source, write_program
from .shrink import smaller

__all__ = ["main"]

#: programs that run at once over NATS
_BATCH = 50
#: programs that failed which are shown
_SHOWN = 5
#: simulations between two collections of garbage
_COLLECTED = 10
#: a smaller program may need other crashes to fail: so many are tried
_TRIES = 4


# ---- one program ----------------------------------------------------------------------------------------------------


def _alone(seed: int, source: Source) -> str:
    """What is wrong on the engine alone; "": nothing."""
    program = compiled(source)
    expected = program.report.expected
    run = Direct(program.plan, ROOT, seed, renewed=seed % 2 == 1, expected=expected)
    wrong = differences(program.report, run.run(source.args), "json", run.get)
    if not program.report.open:  # all of it is determined
        wrong += [f"signal {name} was lost" for name in run.sent_again]
        wrong += [f"{len(run.sent)} runs were started, and must be {expected.detached}"] * (
            len(run.sent) != expected.detached
        )
    return "; ".join(wrong)


def _crashing(seed: int, source: Source) -> str:
    if seed % _COLLECTED == 0:
        gc.collect()
    gc.disable()  # what a simulation left behind is not thrown away in the middle of another one
    ending = ordeal(seed, source)
    return "" if ending.violation is None else str(ending.violation)


def _source(seed: int, crashes: bool) -> Source:
    if crashes:
        return source_of(seed)
    chance = random.Random(f"{seed} program")
    return write_program(chance.randint, most=chance.choice((2, 5, 9, 14)))


def _one(job: tuple[int, bool]) -> tuple[int, str]:
    seed, crashes = job
    source = _source(seed, crashes)
    try:
        return seed, (_crashing if crashes else _alone)(seed, source)
    except AssertionError as error:
        return seed, f"{error}"
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}"


def _shrunk(seed: int, source: Source, wrong: str, check: Callable[[int, Source], str]) -> tuple[int, str]:
    """The smallest program that is found to fail like that, and the seed that it fails with."""
    failing, kind = [seed], wrong[:8]

    def fails(text: str) -> bool:
        for other in (failing[-1], *range(seed, seed + _TRIES)):
            try:
                wrong = check(other, Source(text, source.args))
            except NotCompiled:
                return False
            except AssertionError as error:
                wrong = f"{error}"
            if wrong[:8] == kind:
                failing.append(other)
                return True
        return False

    return failing[-1], smaller(source.text, fails, DECLARATIONS)


# ---- many -----------------------------------------------------------------------------------------------------------


def _in_memory(seeds: range, crashes: bool, jobs: int) -> Iterator[tuple[int, str]]:
    work = ((seed, crashes) for seed in seeds)
    if jobs == 1:
        yield from map(_one, work)
        return
    with multiprocessing.get_context("fork").Pool(jobs, quiet, maxtasksperchild=100) as pool:
        yield from pool.imap(_one, work, chunksize=10)


async def _over_nats(seeds: range, crashes: bool, told: Callable[[int, str], None]) -> None:
    logging.getLogger("flow").setLevel(logging.CRITICAL)
    chance = random.Random(seeds.start)
    with tempfile.TemporaryDirectory() as folder:
        async with Fragile(Path(folder), ROOT, chance) as node:
            for number, batch in enumerate(_batches(seeds)):
                programs = [compiled(_source(seed, crashes)) for seed in batch]
                deaths = chance.randint(1, 3) if crashes else 0
                ended = await node.run(programs, deaths, server=crashes and number % 3 == 2)
                for seed, program, ran in zip(batch, programs, ended, strict=True):
                    if ran is None:
                        told(seed, "it did not end in time")
                        continue
                    fetch = ran.blobs.__getitem__
                    wrong = differences(program.report, ran.record, "json", fetch, attempts=not crashes)
                    told(seed, "; ".join(wrong))


def _batches(seeds: range) -> Iterator[range]:
    for first in range(0, len(seeds), _BATCH):
        yield seeds[first : first + _BATCH]


def _run(args: argparse.Namespace) -> int:
    began, failed = time.monotonic(), 0
    seeds = range(args.seed, args.seed + 1) if args.seed is not None else range(args.first, args.first + args.programs)

    def told(seed: int, wrong: str) -> None:
        nonlocal failed
        if wrong:
            failed += 1
            if failed <= _SHOWN:
                _tell(seed, wrong, args)
            else:
                print(f"seed {seed}: {wrong}", flush=True)

    if args.nats:
        asyncio.run(_over_nats(seeds, args.crashes, told))
    else:
        for count, (seed, wrong) in enumerate(_in_memory(seeds, args.crashes, min(args.jobs, len(seeds))), 1):
            told(seed, wrong)
            if count % 2000 == 0:
                print(f"{count} programs, {failed} wrong, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{len(seeds)} programs, {failed} wrong, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


def _tell(seed: int, wrong: str, args: argparse.Namespace) -> None:
    source = _source(seed, args.crashes)
    print(f"seed {seed}: {wrong}\n# {source.args}\n{source.text.removeprefix(DECLARATIONS)}", flush=True)
    if args.shrink and not args.nats:
        failing, text = _shrunk(seed, source, wrong, _crashing if args.crashes else _alone)
        print(f"smaller, with seed {failing}:\n{text.removeprefix(DECLARATIONS)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.reference", description="Random programs.")
    parser.add_argument("--programs", type=int, default=2000, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="K", help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--crashes", action="store_true", help="processes die while they run")
    parser.add_argument("--nats", action="store_true", help="over NATS, and not in memory")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--shrink", action="store_true", help="look for smaller ones that fail, too")
    args = parser.parse_args()
    quiet()
    return _run(args)


if __name__ == "__main__":
    run_seeded("tests.reference", main)
