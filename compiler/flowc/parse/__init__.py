"""Text -> syntax nodes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from flowc import syntax
from flowc.catalog import Findings
from flowc.source import Source

from . import machine
from .build import Refused
from .lexer import scan
from .problems import report
from .reading import MAX_BYTES, decode_source

__all__ = ["MAX_BYTES", "decode_source", "parse", "parse_expression"]


def parse(source: Source, findings: Findings) -> syntax.File:
    """The declarations of a file. What is wrong goes into `findings`, and an ErrorNode stands in its place."""
    with _collector_paused():
        lexer = scan(source.text)
        try:
            file: syntax.File = machine.run(lexer.tokens, "file")
        except machine.Stop as stop:
            value = lexer.values[stop.index]
            findings.add("unexpected-token", source.span(value.start, value.end), found=source.text[value.start:value.end], where="here")
            return syntax.File(0, len(source.text), ())
        except Refused as refused:
            findings.add(refused.finding, source.span(refused.start, refused.end), **refused.fields)
            return syntax.File(0, len(source.text), ())
        for problem in lexer.problems:
            report(problem, source, findings)
        return _documented(file.declarations, lexer.docs, len(source.text))


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


def _documented(declarations: tuple[Any, ...], docs: dict[int, str], end: int) -> syntax.File:
    if not docs:
        return syntax.File(0, end, declarations)
    return syntax.File(0, end, tuple(_with_doc(node, docs.get(node.start)) for node in declarations))


def _with_doc(node: Any, doc: str | None) -> Any:
    return node if doc is None or not hasattr(node, "doc") else msgspec.structs.replace(node, doc=doc)
