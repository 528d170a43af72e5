"""What is remembered of runs: `.flow/runs/RUN.json`, and beside it the plan: `--resume RUN` needs nothing else."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

import msgspec
from flowc import plan as plans
from flowc.plan import Plan, PlanError

from .errors import InputError
from .files import read_file, write_whole

__all__ = ["RUNNING", "SUBMITTING", "Run", "Runs"]

#: states of a run that has not ended: it may never have reached the server; it has
SUBMITTING, RUNNING = "submitting", "running"

#: ended runs beyond this number are forgotten, the oldest first
_KEEP = 200


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of this folder."""

    run: str
    flow: str
    #: content hash of the plan
    plan: str
    #: the arguments as they were typed, by parameter
    args: dict[str, str]
    #: the server, or None for the embedded one
    url: str | None
    env: str
    partition: str
    #: SUBMITTING, RUNNING, or how it ended
    state: str
    #: milliseconds since 1970
    started_ms: int
    ended_ms: int | None = None
    #: variables that were given for it, as they were typed
    variables: dict[str, str] = {}


class Runs:
    """The runs of one project."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ".flow" / "runs"

    def add(self, run: Run, plan: bytes) -> None:
        """Remembers a run before it is submitted; `plan` is the content of its `.flowplan` file."""
        self._forget_old()
        write_whole(self._folder / f"{run.run}.flowplan", plan)
        self.save(run)

    def save(self, run: Run) -> None:
        write_whole(self._folder / f"{run.run}.json", msgspec.json.format(msgspec.json.encode(run), indent=2))

    def load(self, name: str) -> tuple[Run, Plan]:
        """A run and its plan; "last" is the latest one. Raises InputError."""
        known = self._ids()
        if name == "last" and known:
            name = known[-1]
        if name not in known:
            raise InputError(
                f"there is no run `{name}` in this folder", place=str(self._folder), help=_hint(name, known)
            )
        path = self._folder / f"{name}.json"
        try:
            run = msgspec.json.decode(read_file(path, "run"), type=Run)
        except msgspec.DecodeError as error:
            raise InputError(f"the file of the run `{name}` is damaged: {error}", place=str(path)) from error
        plan_path = self._folder / f"{name}.flowplan"
        try:
            return run, plans.read_file_bytes(read_file(plan_path, "plan of the run"))
        except PlanError as error:
            raise InputError(str(error), place=str(plan_path)) from error

    def find(self, name: str) -> Run | None:
        """A run of this folder, without its plan; "last" is the latest one. None if there is none."""
        known = self._ids()
        name = known[-1] if name == "last" and known else name
        if name not in known:
            return None
        with suppress(msgspec.DecodeError, InputError):
            return msgspec.json.decode(read_file(self._folder / f"{name}.json", "run"), type=Run)
        return None

    def _ids(self) -> list[str]:
        """All runs, the oldest first."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def _forget_old(self) -> None:
        for name in self._ids()[:-_KEEP]:
            (self._folder / f"{name}.json").unlink(missing_ok=True)
            (self._folder / f"{name}.flowplan").unlink(missing_ok=True)


def _hint(name: str, known: list[str]) -> str:
    if not known:
        return "no run was started here yet; start one with `flowc run`"
    close = get_close_matches(name, known, 1, cutoff=0.75)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"the latest are {', '.join(known[-3:])}; `last` stands for the latest"
