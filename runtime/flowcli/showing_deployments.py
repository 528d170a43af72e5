"""Deployments on the screen: what changes, the history, what is deployed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import msgspec
from flowrun.deployments.changes import Change

from .deployment_answers import (
    DeployedProject,
    DeploymentChanged,
    DeploymentEntry,
    DeploymentHistory,
    DeploymentPlanned,
    Deployments,
)
from .looking import ago, print_table
from .output import say

__all__ = ["show_answer", "show_changes"]

_SIGNS = {"add": "+", "change": "~", "remove": "-"}
_DONE = {"deploy": "deployed", "rollback": "rolled back", "undeploy": "undeployed"}
#: of a content hash
_SHOWN = 12
#: more changes of one kind are told together, so many of them by name
_MOST_LINES, _NAMED = 50, 5


def show_answer(answer: msgspec.Struct) -> None:
    """Any of the answers of these commands."""
    match answer:
        case DeploymentPlanned():
            show_changes(answer.changes)
            if not answer.changes:
                say(f"nothing would change in {answer.env}")
        case DeploymentChanged():
            _show_changed(answer)
        case DeploymentHistory():
            _show_history(answer)
        case Deployments():
            _show_deployments(answer)


def show_changes(changes: Iterable[Change]) -> None:
    """A line for each, and below it what about it; of very many alike, a line for all."""
    for (action, what), alike in groupby(changes, key=lambda change: (change.action, change.what)):
        found = list(alike)
        if len(found) > _MOST_LINES:
            names = ", ".join(change.name for change in found[:_NAMED])
            say(f"{_SIGNS[action]} {len(found)} {what}s: {names} and {len(found) - _NAMED} more")
            continue
        for change in found:
            name = change.name[:_SHOWN] if what == "code" else change.name
            say(f"{_SIGNS[action]} {what} {name}")
            for detail in change.details:
                say(f"    {detail}")


def _show_changed(answer: DeploymentChanged) -> None:
    where = f"project {answer.project} in {answer.env}"
    if answer.action == "nothing":
        say(f"nothing has changed: {where} is at number {answer.number}")
        return
    show_changes(answer.changes)
    to = f" to what number {answer.to} deployed" if answer.to is not None else ""
    say(f"{_DONE[answer.action]}{to}: {where} is at number {answer.number}")


def _show_history(answer: DeploymentHistory) -> None:
    if not answer.deployments:
        say(f"project {answer.project} was never deployed in {answer.env}")
        return
    print_table(("NUMBER", "WHEN", "WHAT", "BY", "SIGNED", "DEPLOYED", "NOTE"), map(_history_row, answer.deployments))


def _history_row(entry: DeploymentEntry) -> tuple[str, ...]:
    when = f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}"
    signer = "" if entry.signer is None else f"…{entry.signer[-8:]}"
    return (str(entry.number), when, entry.action, entry.by, signer, (entry.manifest or "")[:_SHOWN], entry.note)


def _show_deployments(answer: Deployments) -> None:
    if not answer.projects:
        say(f"nothing is deployed in {answer.env}")
        return
    print_table(("PROJECT", "NUMBER", "SINCE", "BY", "FLOWS", "TRIGGERS"), map(_project_row, answer.projects))
    say("")
    flows = (
        (flow.flow, one.project, flow.file, ", ".join(flow.triggers)) for one in answer.projects for flow in one.flows
    )
    print_table(("FLOW", "PROJECT", "FILE", "TRIGGERS"), flows)


def _project_row(one: DeployedProject) -> tuple[str, ...]:
    triggers = sum(len(flow.triggers) for flow in one.flows)
    current = one.current
    return (
        one.project,
        str(current.number),
        ago(current.at.timestamp()),
        current.by,
        str(len(one.flows)),
        str(triggers),
    )
