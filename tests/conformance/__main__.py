"""Runs the conformance suite and the patterns, and counts.

python -m tests.conformance                   in memory, in virtual time
python -m tests.conformance --nats            also over NATS
python -m tests.conformance 5-steps           files whose path has this text in it
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from .cases import Spec
from .judge import findings
from .suite import CONFORMANCE, SPECS, Suite, is_for_nats

__all__ = ["main"]

#: columns of the table
_COLUMNS = ("files", "compiled", "in memory", "over nats")


def _where(spec: Spec) -> str:
    return spec.path.relative_to(CONFORMANCE.parent).parent.as_posix()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__.partition("\n")[0])
    parser.add_argument("--nats", action="store_true", help="also over NATS")
    parser.add_argument("pattern", nargs="?", default="", help="text that a file's path has in it")
    options = parser.parse_args(arguments)
    logging.getLogger("flow").addHandler(logging.NullHandler())
    logging.getLogger("flow").propagate = False
    specs = [spec for spec in SPECS if options.pattern in str(spec.path)]
    good: Counter[tuple[str, str]] = Counter()
    all_of: Counter[tuple[str, str]] = Counter()
    bad = 0

    def count(spec: Spec, column: str, wrong: list[str], line: int = 0) -> int:
        all_of[_where(spec), column] += 1
        good[_where(spec), column] += not wrong
        for one in wrong:
            print(f"{spec.path.relative_to(Path.cwd())}{f':{line}' if line else ''}: {column}: {one}")
        return bool(wrong)

    with tempfile.TemporaryDirectory() as folder, Suite(Path(folder), specs) as suite:
        for spec in specs:
            all_of[_where(spec), "files"] += 1
            good[_where(spec), "files"] += 1
            wrong = findings(spec)
            bad += count(spec, "compiled", wrong)
            if any(": E: " in one for one in wrong):
                continue
            for case in spec.cases:
                if not case.in_processes:
                    bad += count(spec, "in memory", suite.in_memory(case), case.line)
                if options.nats and is_for_nats(case):
                    bad += count(spec, "over nats", suite.over_nats(case), case.line)
    _table(good, all_of)
    if suite.again:
        print(
            f"{len(suite.again)} ran twice over NATS: {', '.join(f'{one.path.stem}:{one.line}' for one in suite.again)}"
        )
    return bool(bad)


def _table(good: Counter[tuple[str, str]], all_of: Counter[tuple[str, str]]) -> None:
    places = sorted({where for where, _ in all_of})
    width = max((len(where) for where in places), default=5)
    print(" " * width, *(f"{column:>12}" for column in _COLUMNS))
    for where in [*places, "all"]:
        cells = []
        for column in _COLUMNS:
            keys = [(one, column) for one in places if where in (one, "all")]
            done, there = sum(good[key] for key in keys), sum(all_of[key] for key in keys)
            cells.append(f"{done if column == 'files' else f'{done}/{there}'!s:>12}")
        print(f"{where:<{width}}", *cells)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
