"""Text -> syntax nodes."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from flowc import syntax
from flowc.catalog import Findings
from flowc.source import Source

from . import machine
from .build import Refused
from .lexer import Lexer, scan
from .problems import Problem, report
from .reading import MAX_BYTES, decode_source
from .recover import recover

__all__ = ["MAX_BYTES", "decode_source", "parse", "parse_expression"]


def parse(source: Source, findings: Findings) -> syntax.File:
    """The declarations of a file. What is wrong goes into `findings`, and an ErrorNode stands in its place."""
    with _collector_paused():
        lexer = scan(source.text)
        declarations, problems = _declarations(source.text, lexer)
    for problem in problems:
        report(problem, source, findings)
    return _documented(declarations, lexer.docs, len(source.text))


def _declarations(text: str, lexer: Lexer) -> tuple[Sequence[syntax.Declaration], list[Problem]]:
    if lexer.types == ["$END"]:
        return (), lexer.problems
    if any(problem.name == "nesting-too-deep" or problem.is_spoiling for problem in lexer.problems):
        return recover(text)
    try:
        return machine.run(lexer.tokens, "file").declarations, lexer.problems
    except (machine.Stop, Refused):
        return recover(text)


def parse_expression(text: str) -> syntax.Expression:
    """One expression; raises ValueError if the text is none."""
    lexer = scan(text)
    try:
        expression: syntax.Expression = machine.run(lexer.tokens, "expr")
    except (machine.Stop, Refused) as error:
        raise ValueError(f"not an expression: {text!r}") from error
    if lexer.problems:
        raise ValueError(f"not an expression: {text!r} ({lexer.problems[0].name})")
    return expression


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nodes form no cycles: looking for some while hundreds of thousands are made takes most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _documented(declarations: Sequence[Any], docs: dict[int, str], end: int) -> syntax.File:
    if not docs:
        return syntax.File(0, end, tuple(declarations))
    return syntax.File(0, end, tuple(_with_doc(node, docs.get(node.start)) for node in declarations))


def _with_doc(node: Any, doc: str | None) -> Any:
    return node if doc is None or not hasattr(node, "doc") else msgspec.structs.replace(node, doc=doc)
