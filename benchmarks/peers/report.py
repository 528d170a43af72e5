"""What `versus.py` tells: the table on the screen and in Markdown, everything as JSON, and a chart."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from peers.chart import Panel, chart
from peers.servers import SETTINGS, server_versions
from peers.session import Outcome
from peers.systems import SYSTEMS

__all__ = ["Report", "facts"]

#: an outcome was disturbed when others kept more than so many cores busy meanwhile
BUSY_CORES = 0.2


@dataclasses.dataclass(frozen=True)
class Column:
    """A figure of a job."""

    job: str
    title: str
    #: of one outcome; the table has the median of all
    figure: Callable[[Outcome], float]
    form: str
    more_is_better: bool = False


COLUMNS = (
    Column("single", "single tasks/s", lambda done: done.rate, "{:,.0f}", True),
    Column("single", "CPU µs/task", lambda done: done.cpu * 1e6, "{:,.0f}"),
    Column("chain", "chain ms/step p50", lambda done: done.each() * 1e3, "{:.2f}"),
    Column("fused", "fused ms/step p50", lambda done: done.each() * 1e3, "{:.3f}"),
    Column("chord", "chord s", lambda done: done.seconds[0], "{:.2f}"),
    Column("round", "round trip ms p50", lambda done: done.each() * 1e3, "{:.2f}"),
    Column("round", "p99", lambda done: done.each(0.99) * 1e3, "{:.2f}"),
    Column("map", "map items/s", lambda done: done.rate, "{:,.0f}", True),
)


def facts(systems: Sequence[str], peers: Path) -> dict[str, object]:
    """The machine, and versions and settings of all that takes part."""
    used = sorted({server for name in systems for server in SYSTEMS[name].servers})
    folders = [str(folder) for folder in peers.parent.glob("lib/python*/site-packages")] if peers.name else []
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "servers": {server: f"{version}; {SETTINGS[server]}" for server, version in server_versions(used).items()},
        "systems": {
            name: {
                "title": SYSTEMS[name].title,
                "packages": _versions(SYSTEMS[name].packages, sys.path if SYSTEMS[name].own else folders),
                "settings": SYSTEMS[name].settings,
            }
            for name in systems
        },
    }


def _versions(packages: Sequence[str], folders: list[str]) -> str:
    found = {d.name.lower(): d.version for d in importlib.metadata.distributions(path=folders)}
    return ", ".join(f"{name} {found.get(name.lower(), 'is not installed')}" for name in packages)


class Report:
    """Collects outcomes. `counts`: job -> how many."""

    def __init__(self, facts: dict[str, object], counts: dict[str, int]) -> None:
        self._facts = facts
        self._counts = counts
        self._systems: dict[str, dict[str, str]] = facts["systems"]  # type: ignore[assignment]
        self._columns = [column for column in COLUMNS if column.job in counts]
        #: system, job -> an outcome for each time
        self._outcomes: dict[tuple[str, str], list[Outcome]] = {}

    def add(self, system: str, job: str, outcome: Outcome) -> None:
        self._outcomes.setdefault((system, job), []).append(outcome)

    def has_none(self, system: str, job: str) -> bool:
        """The system does not offer this."""
        return any(outcome.problem == "none" for outcome in self._outcomes.get((system, job), []))

    def line(self, system: str, job: str, outcome: Outcome) -> str:
        """One outcome, for the screen."""
        columns = [column for column in self._columns if column.job == job]
        said = outcome.problem or "   ".join(f"{c.title} {c.form.format(c.figure(outcome))}" for c in columns)
        beside = "" if outcome.problem else f"   CPU of others {outcome.others:.2f} cores"
        return f"{system:<16} {job:<7} {said}   load before {outcome.load:.2f}{beside}"

    def text(self) -> str:
        """The table in Markdown, with all that is needed to read it."""
        return "\n".join([self._heading(), "", *self._table(), "", *self._summary(), *self._notes()])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = [
            {"system": system, "job": job, **dataclasses.asdict(outcome)}
            for (system, job), all_of_them in self._outcomes.items()
            for outcome in all_of_them
        ]
        data = {**self._facts, "counts": self._counts, "outcomes": outcomes}
        (folder / "versus.json").write_text(json.dumps(data) + "\n")
        (folder / "versus.md").write_text(f"# This system and its peers, side by side\n\n{self.text()}\n")
        (folder / "versus.svg").write_text(chart(self._panels()))

    def _figure(self, system: str, column: Column) -> float | None:
        done = self._counted(system, column.job)
        return statistics.median(map(column.figure, done)) if done else None

    def _counted(self, system: str, job: str) -> list[Outcome]:
        """The outcomes that were not disturbed; if there are none, all."""
        done = [outcome for outcome in self._outcomes.get((system, job), []) if not outcome.problem]
        return [outcome for outcome in done if outcome.others <= BUSY_CORES] or done

    def _cell(self, system: str, column: Column) -> str:
        outcomes = self._outcomes.get((system, column.job), [])
        figure = self._figure(system, column)
        if figure is None:
            return "none" if all(outcome.problem == "none" for outcome in outcomes) else "failed"
        busy = any(outcome.others > BUSY_CORES for outcome in self._counted(system, column.job))
        failed = any(outcome.problem for outcome in outcomes)
        return column.form.format(figure) + ("\\*" if busy else "") + (" (failed at times)" if failed else "")

    def _heading(self) -> str:
        counts = self._counts
        what = {
            "single": "{:,} single tasks (a quarter of them for the peers)",
            "chain": "{} chains of 100 steps",
            "fused": "{} such chains whose steps may go together",
            "chord": "a chord of {:,} tasks and a body",
            "round": "{} round trips",
            "map": "a map over {:,} items",
        }
        times = max((len(outcomes) for outcomes in self._outcomes.values()), default=0)
        return (
            f"{self._facts['date']}: {self._facts['cores']} cores, Python {self._facts['python']}, everything on one "
            f"machine. {'; '.join(what[job].format(count) for job, count in counts.items())}. "
            f"Medians of {times}, without those that were disturbed by other work on the machine."
        )

    def _table(self) -> list[str]:
        rows = [["system", *(column.title for column in self._columns)]]
        rows += [
            [title["title"], *(self._cell(name, column) for column in self._columns)]
            for name, title in self._systems.items()
        ]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = [_row(row, widths) for row in rows]
        return [
            lines[0],
            _row(["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])], widths),
            *lines[1:],
        ]

    def _summary(self) -> list[str]:
        """How this system compares, if it takes part."""
        lines = []
        peers = [name for name in self._systems if not SYSTEMS[name].floor and not SYSTEMS[name].own]
        for column in self._columns:
            own = self._figure("flowc", column) if "flowc" in self._systems else None
            others = {name: figure for name in peers if (figure := self._figure(name, column)) is not None}
            if own is None or not others:
                continue
            best = (max if column.more_is_better else min)(others, key=others.__getitem__)
            marks = {"Celery": others.get("celery"), f"the best peer ({best})": others[best]}
            if "floor" in self._systems:
                marks["the floor"] = self._figure("floor", column)
            said = [f"{_times(own, figure, column)} of {name}" for name, figure in marks.items() if figure]
            lines.append(f"- flowc, {column.title}: {', '.join(said)}")
        return [*lines, ""] if lines else []

    def _notes(self) -> list[str]:
        lines = [
            "CPU is user and system time of client, workers and servers together. "
            f"\\* each time others kept more than {BUSY_CORES} cores busy. none: the system does not offer it. "
            f"Load average before the jobs: {self._loads()}.",
            "",
        ]
        for name, system in self._systems.items():
            lines.append(f"- **{name}**: {system['packages']}. {system['settings']}.")
        servers: dict[str, str] = self._facts["servers"]  # type: ignore[assignment]
        lines += [f"- **{name}**: {said}." for name, said in servers.items()]
        problems = {
            f"- {system}, {job}: {outcome.problem}"
            for (system, job), outcomes in self._outcomes.items()
            for outcome in outcomes
            if outcome.problem not in ("", "none")
        }
        return [*lines, *(["", "Failed:", *sorted(problems)] if problems else [])]

    def _loads(self) -> str:
        loads = [outcome.load for outcomes in self._outcomes.values() for outcome in outcomes]
        return f"{min(loads):.2f} to {max(loads):.2f}, median {statistics.median(loads):.2f}" if loads else "unknown"

    def _panels(self) -> list[Panel]:
        return [
            Panel(
                title=column.title,
                better="more is better" if column.more_is_better else "less is better",
                bars=tuple(
                    (system["title"], figure, self._cell(name, column).replace("\\", ""))
                    for name, system in self._systems.items()
                    if (figure := self._figure(name, column)) is not None
                ),
            )
            for column in self._columns
        ]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (cell.ljust(width) if not i else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(cells, widths, strict=True)))  # fmt: skip
    return "| " + " | ".join([first, *others]) + " |"


def _times(own: float, other: float, column: Column) -> str:
    """How much better than another: above 1 is better, whatever the figure."""
    times = own / other if column.more_is_better else other / own
    return f"{times:.1f}×" if times >= 1.0 else f"{times:.2f}×"
