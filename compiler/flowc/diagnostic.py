"""One finding of the compiler, as data. Rendering lives in `render`, texts and codes in `catalog`."""

from __future__ import annotations

from typing import Literal

import msgspec

from .source import Span

__all__ = ["Diagnostic", "Label", "Severity"]

Severity = Literal["error", "warning", "info"]


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A secondary place that contributes to a finding."""

    span: Span
    text: str


class Diagnostic(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: what is wrong, where, and what to do."""

    #: stable code, as FL0301
    code: str
    #: stable kebab-case name, as join-never-runs
    name: str
    severity: Severity
    #: what is wrong, in one sentence
    message: str
    #: the smallest place that shows it
    span: Span
    #: what to do
    help: str = ""
    labels: tuple[Label, ...] = ()
