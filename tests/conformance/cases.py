"""Reads the files of `specs/conformance` and `specs/patterns`: the rule, the program, and what must come of it.

A file begins with a comment that states the rule, and ends with its cases, in lines that begin with `#>`:

    #> main(x: 3) = [1, null]                          a run with these arguments succeeds with this value
    #> main() succeeds                                 … whatever its value
    #> main() fails ValueError at fetch "refused"      … fails with this type, at this step, with this text
    #> main() is cancelled                             … or `is expired`
    #> main(x: "a") is refused "int"                   … or does not even begin: with this text
    #> main(x: 1) = 1 and main(x: 2) = 2               is written in two lines, the second `#> and main(x: 2) = 2`
    #> and at 1s main(x: 2) = 2                        submitted a second after the first
    #> main() with {"delay": "1s"} = 1                 options of the submission
    #> in processes                                    of a whole file: its tasks need processes of their own, so it
                                                       runs over NATS only, and nothing is told of starts

Lines that stand deeper say more about the run above:

    #>   steps: a success, b failed 3, c[0] skipped    states of steps, their attempts where a number follows
    #>   starts: a 0s, b 0s, b 2s                      every attempt that a worker began, and when
    #>   order: a, b, c                                the same without times
    #>   took: 2s
    #>   log: the token is ***                         a line that a task of it wrote; of files that run in processes
    #>   do 1s: signal go {"ok": true}                 what the world does meanwhile: signal NAME VALUE,
                                                       emit SUBJECT/KEY VALUE, approve STEP, reject STEP, mark STEP,
                                                       cancel STEP, pause, resume; more for the client as an object
    #>   do 1s: signal go 1 refused "no such signal"   … and is refused, with this text

`rerun(from: ["b"], x: 2)`, joined to a run by `and`, is that run again once it has ended, from these steps on and with
these arguments; `rerun(plan: "lib/new.flow")` with the plan of another file, `rerun(whole: true)` all of it.

In a program that is refused, `# E: name` (`# W: name` for a warning) stands at the end of each line with a finding.
A step without a value reads `null`; the value of a run is compared as JSON, numbers with decimals as they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Act", "Case", "Expected", "Run", "Spec", "SpecError", "Start", "StepState", "read", "read_all"]

_MARK = re.compile(r'# ([EW]): ([a-z-]+)(?: "(?:[^"]*)")?')
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RUN = re.compile(r"(?P<and>and )?(?:at (?P<at>\S+) )?(?P<flow>\w+)\(")
#: what undoes a step is shown as `undo step`
_NAME = r"(?P<step>(?:[^\s,\[\]]*\bundo )?[^\s,\[\]]+)"
_STEP = re.compile(_NAME + r"(?:\[(?P<index>[\d, ]+)\])? (?P<state>[a-z_]+)(?: (?P<attempts>\d+))?")
_START = re.compile(_NAME + r"(?:\[(?P<index>[\d, ]+)\])?(?: (?P<time>\S+))?")
_COMMA = re.compile(r", ?(?![^\[]*\])")
_ACT = re.compile(
    r"do (?P<time>\S+): (?P<what>\w+)(?: (?P<name>(?!refused)[^\s{\"\[]\S*))?(?: (?P<value>(?!refused).+?))?"
    r'(?: refused "(?P<refused>.*)")?'
)


class SpecError(Exception):
    """A file does not follow the format."""


@dataclass(frozen=True, kw_only=True)
class StepState:
    step: str
    index: tuple[int, ...]
    state: str
    #: None: not looked at
    attempts: int | None


@dataclass(frozen=True, kw_only=True)
class Start:
    """An attempt that a worker begins."""

    step: str
    index: tuple[int, ...]
    #: seconds after the first submission; None: not looked at
    at: float | None


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something that the world does with a run."""

    #: seconds after the first submission
    at: float
    #: signal, cancel, …
    what: str
    #: of the signal, the step, …; "": none
    name: str
    value: Any
    #: text of what refuses it; None: nobody does
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What must come of one run."""

    #: success, failed, cancelled, expired, refused
    state: str
    #: a list of one: the value, as JSON has it; empty: not looked at
    value: tuple[Any, ...] = ()
    error: str = ""
    step: str = ""
    text: str = ""
    steps: tuple[StepState, ...] = ()
    starts: tuple[Start, ...] | None = None
    order: tuple[Start, ...] | None = None
    took: float | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    flow: str
    #: as JSON has them
    args: dict[str, Any]
    #: of the submission: key, delay, …
    options: dict[str, Any]
    #: seconds after the first submission
    at: float
    expected: Expected
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run, or several that meet."""

    path: Path
    line: int
    #: what the first run is, for people
    title: str
    runs: tuple[Run, ...]
    #: its tasks need processes of their own
    in_processes: bool = False

    @property
    def seconds(self) -> float:
        """How long it is known to take, as far as it says so."""
        times = [0.0]
        for run in self.runs:
            times += [run.at, run.expected.took or 0.0, *(act.at for act in run.acts)]
            times += [start.at or 0.0 for start in run.expected.starts or ()]
        return max(times)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One file."""

    path: Path
    #: the comment at its head
    rule: str
    #: (line, "E" or "W", name)
    marks: tuple[tuple[int, str, str], ...]
    cases: tuple[Case, ...]

    @property
    def is_refused(self) -> bool:
        return any(letter == "E" for _, letter, _ in self.marks)


def read_all(folder: Path) -> list[Spec]:
    """Every `.flow` file of a folder and those inside, in order. Folders named `lib` hold what others import."""
    return [read(path) for path in sorted(folder.rglob("*.flow")) if "lib" not in path.parent.parts]


def read(path: Path) -> Spec:
    """Raises SpecError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    rule = " ".join(line.removeprefix("#").strip() for line in _head(lines))
    if not rule:
        raise SpecError(f"{path}: it does not begin with a comment that states its rule")
    marks = tuple((number, *found) for number, line in enumerate(lines, 1) for found in _MARK.findall(line))
    spec = Spec(path=path, rule=rule, marks=marks, cases=tuple(_cases(path, lines)))
    if spec.is_refused == bool(spec.cases):
        raise SpecError(f"{path}: it must either be refused (`# E: name`) or have cases (`#> main() = …`)")
    return spec


def _head(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("#"):
            return
        yield line


def _cases(path: Path, lines: list[str]) -> Iterator[Case]:
    """A run's line with those that stand deeper, and the runs joined to it by `and`."""
    groups: list[list[tuple[int, str, list[str]]]] = []
    in_processes = "#> in processes" in lines
    for number, line in enumerate(lines, 1):
        if not line.startswith("#>") or line == "#> in processes":
            continue
        text = line[2:].split("  # ")[0].rstrip()
        if text.startswith("  "):
            if not groups:
                raise SpecError(f"{path}:{number}: which run does this belong to?")
            groups[-1][-1][2].append(text.strip())
        elif text.strip().startswith("and "):
            groups[-1].append((number, text.strip(), []))
        elif text.strip():
            groups.append([(number, text.strip(), [])])
    for group in groups:
        try:
            runs = tuple(_run(text, more) for _, text, more in group)
        except (ValueError, AttributeError, KeyError) as error:
            raise SpecError(f"{path}:{group[0][0]}: {group[0][1]}: {error}") from error
        yield Case(path=path, line=group[0][0], title=group[0][1], runs=runs, in_processes=in_processes)


def _run(text: str, more: list[str]) -> Run:
    found = _RUN.match(text)
    if found is None:
        raise ValueError("a case is `main(x: 1) = 2`, `main() fails ValueError at step`, `main() is cancelled`")
    args, at = _arguments(text, found.end())
    options: dict[str, Any] = {}
    if text.startswith(" with ", at):
        options, at = json.JSONDecoder().raw_decode(text, at + len(" with "))
    parts: dict[str, Any] = _ending(text[at:].strip())
    acts = []
    for line in more:
        if act := _ACT.fullmatch(line):
            value = None if act["value"] is None else json.loads(act["value"])
            when, name = _seconds(act["time"]), act["name"] or ""
            acts.append(Act(at=when, what=act["what"], name=name, value=value, refused=act["refused"]))
            continue
        name, _, rest = line.partition(":")
        if name == "took":
            parts["took"] = _seconds(rest.strip())
        elif name == "steps":
            parts["steps"] = (*parts.get("steps", ()), *(_state(one) for one in _listed(rest)))
        elif name == "log":
            parts["log"] = (*parts.get("log", ()), rest.strip())
        elif name in ("starts", "order"):
            parts[name] = (*parts.get(name, ()), *(_start(one) for one in _listed(rest)))
        else:
            raise ValueError(f"`{name}` is none of steps, starts, order, took, log, do")
    when = _seconds(found["at"]) if found["at"] else 0.0
    return Run(flow=found["flow"], args=args, options=options, at=when, expected=Expected(**parts), acts=tuple(acts))


def _arguments(text: str, at: int) -> tuple[dict[str, Any], int]:
    """The arguments from behind the parenthesis, and the place behind the other one."""
    args: dict[str, Any] = {}
    decoder = json.JSONDecoder()
    while text[at] != ")":
        name = re.compile(r"[, ]*(\w+): *").match(text, at)
        if name is None:
            raise ValueError(f"no argument `name: value` at `{text[at:]}`")
        args[name[1]], at = decoder.raw_decode(text, name.end())
    return args, at + 1


def _ending(text: str) -> dict[str, Any]:
    if text.startswith("="):
        return {"state": "success", "value": (json.loads(text[1:]),)}
    if text == "succeeds":
        return {"state": "success"}
    if found := re.fullmatch(r"is (cancelled|expired)", text):
        return {"state": found[1]}
    if found := re.fullmatch(r'is refused "(.*)"', text):
        return {"state": "refused", "text": found[1]}
    found = re.fullmatch(r'fails (?P<error>\w+)(?: at (?P<step>[^\s"]+))?(?: "(?P<text>.*)")?', text)
    if found is None:
        raise ValueError(f"how does it end? `{text}`")
    return {"state": "failed", "error": found["error"], "step": found["step"] or "", "text": found["text"] or ""}


def _listed(text: str) -> list[str]:
    return [one.strip() for one in _COMMA.split(text.strip()) if one.strip()]


def _state(text: str) -> StepState:
    found = _STEP.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no state of a step: `name success`, `name[0] failed 3`")
    attempts = int(found["attempts"]) if found["attempts"] else None
    return StepState(step=found["step"], index=_index(found["index"]), state=found["state"], attempts=attempts)


def _start(text: str) -> Start:
    found = _START.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is no start of a step: `name 2s`, `name[0]`")
    at = _seconds(found["time"]) if found["time"] else None
    return Start(step=found["step"], index=_index(found["index"]), at=at)


def _index(text: str | None) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(",")) if text else ()


def _seconds(text: str) -> float:
    found = _DURATION.findall(text)
    if "".join(map("".join, found)) != text:
        raise ValueError(f"`{text}` is no duration")
    return sum(float(number) * _SECONDS[unit] for number, unit in found)
