"""Holds what came of a case against what its file says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flowc.diagnostic import Diagnostic
from flowc.pipeline import compile_paths
from flowc.project import find_project
from flowrun.messages import RunRecord

from .cases import Case, Expected, Run, Spec, Start
from .world import Outcome

__all__ = ["SECRET", "differences", "findings"]

#: the value of the secret `api_key`, which nothing may show
SECRET = "s3cr3t-value"

#: virtual time is exact, but for what the dispatcher waits for company, in seconds
EXACT = 0.06
#: times by two clocks, in seconds
EARLY = 0.05
_LETTERS = {"error": "E", "warning": "W", "info": "I"}


def findings(spec: Spec) -> list[str]:
    """What the compiler says and should not, or should say and does not."""
    compiled = compile_paths(find_project(spec.path.parent), [spec.path])
    project = find_project(spec.path.parent)
    shown = project.show(spec.path)
    own = [found for found in compiled.diagnostics if found.span.file == shown]

    def line(found: Diagnostic) -> int:
        return compiled.sources[found.span.file].position(found.span.start).line

    said = Counter((line(found), _LETTERS[found.severity], found.name) for found in own)
    wanted = Counter(spec.marks)
    texts = {(line(found), _LETTERS[found.severity], found.name): found.message for found in own}
    return [f"line {n}: {letter}: {name} is not expected: {texts[n, letter, name]}" for n, letter, name in said - wanted
            ] + [f"line {n}: {letter}: {name} is not found" for n, letter, name in wanted - said]  # fmt: skip


def differences(case: Case, outcomes: list[Outcome], *, exact: bool) -> list[str]:
    """Every way in which the runs of a case are not what they must be. `exact`: times are virtual; else nothing may
    come too early."""
    found: list[str] = []
    for run, outcome in zip(case.runs, outcomes, strict=True):
        if outcome.record is None or run.expected.state == "refused":
            told, text = outcome.refusal, run.expected.text
            wrong = [] if told and run.expected.state == "refused" and text in told else [f"it was refused: `{told}`"]
        else:
            wrong = _differences(run.expected, outcome, outcome.record, run.at, exact) + _refusals(run, outcome)
        found += [f"{run.flow}: {one}" for one in wrong]
    return found


def _differences(expected: Expected, outcome: Outcome, record: RunRecord, at: float, exact: bool) -> list[str]:
    error = record.error
    if record.state != expected.state:
        return [f"it is {record.state} ({error and error.type}: {error and error.message}), not {expected.state}; "
                f"value {outcome.value!r}; {_rows(record)}"]  # fmt: skip
    found = []
    if expected.value and not _same(outcome.value, expected.value[0]):
        found.append(f"the value is {outcome.value!r}, not {expected.value[0]!r}")
    if expected.state == "failed":
        got = (error.type if error else "", record.failed_step or "", error.message if error else "")
        if got[0] != expected.error or (expected.step and got[1] != expected.step) or expected.text not in got[2]:
            found.append(f"it failed as {got}, not {(expected.error, expected.step, expected.text)}")
    found += _step_differences(expected, record)
    found += [f"no task wrote `{line}`, but {list(outcome.log)}" for line in expected.log if line not in outcome.log]
    if SECRET in repr((record, outcome.value, outcome.log)):
        found.append("a secret can be seen")
    if expected.starts is not None:
        found += _start_differences(expected.starts, outcome.starts, exact)
    if expected.order is not None and [_name(one) for one in expected.order] != [_name(one) for one in outcome.starts]:
        found.append(f"the order is {_listed(outcome.starts)}, not {_listed(expected.order)}")
    if expected.took is not None:
        took = outcome.ended - at
        if took < expected.took - EARLY or (exact and took > expected.took + EXACT):
            found.append(f"it took {took:.3f} s, not {expected.took:g} s")
    return found


def _refusals(run: Run, outcome: Outcome) -> list[str]:
    """Acts that were refused and should not be, or the other way round."""
    found = []
    for act, text in zip(run.acts, outcome.refused, strict=True):
        if bool(text) != (act.refused is not None) or (act.refused or "") not in text:
            found.append(f"`{act.what} {act.name}` was {f'refused: {text}' if text else 'taken'}")
    return found


def _same(got: object, wanted: object) -> bool:
    """Equal, and of the same types: true is not 1, and 1.0 is not 1."""
    if type(got) is not type(wanted):
        return False
    if isinstance(got, list) and isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(_same, got, wanted))
    if isinstance(got, dict) and isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(_same(got[key], wanted[key]) for key in got)
    return got == wanted


def _step_differences(expected: Expected, record: RunRecord) -> list[str]:
    rows = {(row.step, _index(row.index)): row for row in record.steps}
    found = []
    for step in expected.steps:
        row = rows.get((step.step, step.index))
        if row is None:
            found.append(f"there is no step {step.step}{list(step.index) or ''}; {_rows(record)}")
        elif row.state != step.state or step.attempts not in (None, row.attempts):
            wanted = f"{step.state}" + ("" if step.attempts is None else f" after {step.attempts}")
            found.append(f"{step.step}{list(step.index) or ''} is {row.state} after {row.attempts}, not {wanted}")
    return found


def _start_differences(wanted: tuple[Start, ...], got: tuple[Start, ...], exact: bool) -> list[str]:
    """The same attempts at the same times; those of one moment in any order."""
    by_name: dict[str, list[float]] = {}
    for start in sorted(got, key=lambda one: one.at or 0.0):
        by_name.setdefault(_name(start), []).append(start.at or 0.0)
    found = Counter(map(_name, wanted)) != Counter(map(_name, got))
    for start in sorted(wanted, key=lambda one: one.at or 0.0):
        times = by_name.get(_name(start))
        if not times:
            found = True
            continue
        at = times.pop(0)
        if start.at is not None and (at < start.at - EARLY or (exact and at > start.at + EXACT)):
            found = True
    return [f"what began is {_listed(got)}, not {_listed(wanted)}"] if found else []


def _index(index: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return () if index is None else (index,) if isinstance(index, int) else tuple(index)


def _name(start: Start) -> str:
    return start.step + (f"[{', '.join(map(str, start.index))}]" if start.index else "")


def _listed(starts: Iterable[Start]) -> str:
    return ", ".join(_name(one) + ("" if one.at is None else f" {one.at:.3f}s") for one in starts)


def _rows(record: RunRecord) -> str:
    return "steps: " + ", ".join(
        f"{row.step}{list(_index(row.index)) or ''} {row.state} {row.attempts}" for row in record.steps
    )
