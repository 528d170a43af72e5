"""Literals: numbers, durations, sizes, dates and quoted text, from their spelling to their value."""

from __future__ import annotations

import re
from datetime import date, datetime

from flowc.syntax import Literal, LiteralKind

__all__ = ["BadLiteral", "date_literal", "dedent", "escape_error", "number", "unescape"]

#: microseconds
DURATIONS = {
    "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip
#: bytes
SIZES = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
MAX_INT = 2**63 - 1

_DIGITS = r"\d+(?:_\d+)*"
_INT = re.compile(_DIGITS, re.ASCII)
_FLOAT = re.compile(rf"{_DIGITS}(?:\.{_DIGITS})?(?:[eE][+-]?\d+)?", re.ASCII)
_MEASURE = re.compile(rf"({_DIGITS})(?:\.(\d+))?([A-Za-z]+)", re.ASCII)
_MISSPELT_UNITS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "S": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m", "M": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "H": "h",
    "day": "d", "days": "d", "D": "d", "week": "w", "weeks": "w", "W": "w", "msec": "ms", "millis": "ms",
    "K": "KB", "k": "KB", "kb": "KB", "kB": "KB", "mb": "MB", "Mb": "MB", "G": "GB", "g": "GB", "gb": "GB", "Gb": "GB",
    "T": "TB", "tb": "TB", "kib": "KiB", "mib": "MiB", "gib": "GiB", "Ki": "KiB", "Mi": "MiB", "Gi": "GiB", "b": "B",
}  # fmt: skip

_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "r": "\r", "0": "\0", "$": "$", "\n": ""}
_ESCAPE = re.compile(r"\\u\{([0-9A-Fa-f]{1,6})\}|\\u([0-9A-Fa-f]{4})|\\(\r?\n|.)|\$\$(?=\{)", re.DOTALL)


class BadLiteral(Exception):
    """A spelling that is no literal: the name of the finding and the help that goes with it."""

    def __init__(self, finding: str, help: str | None = None) -> None:
        super().__init__(finding)
        self.finding = finding
        self.help = help


def number(start: int, end: int, text: str) -> Literal:
    """`12`, `1_000`, `1.5`, `1e6`, `2h30m`, `512MiB`. Raises BadLiteral."""
    kind, value = _number(text)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise BadLiteral("number-too-large")
    if isinstance(value, int) and value > MAX_INT:
        raise BadLiteral("number-too-large")
    return Literal(start, end, kind, value)


def _number(text: str) -> tuple[LiteralKind, int | float]:
    if _INT.fullmatch(text):
        if len(text) > 40:  # int() refuses thousands of digits with an exception of its own
            raise BadLiteral("number-too-large")
        return "int", int(text)
    if _FLOAT.fullmatch(text):
        return "float", float(text)
    parts = [match.groups() for match in _MEASURE.finditer(text)]
    if not parts or "".join(match.group() for match in _MEASURE.finditer(text)) != text:
        raise BadLiteral("bad-number", _number_help(text))
    units = [unit for _, _, unit in parts]
    if len(text) > 200:
        raise BadLiteral("number-too-large")
    if all(unit in DURATIONS for unit in units):
        return "duration", sum(_scaled(whole, part, DURATIONS[unit]) for whole, part, unit in parts)
    if len(units) == 1 and units[0] in SIZES:
        return "size", _scaled(parts[0][0], parts[0][1], SIZES[units[0]])
    raise BadLiteral("bad-number", _number_help(text))


def _scaled(whole: str, fraction: str | None, unit: int) -> int:
    digits = fraction or ""
    return int(whole.replace("_", "") + digits) * unit // int(10 ** len(digits))


def _number_help(text: str) -> str | None:
    mended = _MEASURE.sub(lambda match: match.group()[: -len(match[3])] + _MISSPELT_UNITS.get(match[3], match[3]), text)
    if mended != text:
        try:
            _number(mended)
        except BadLiteral:
            return None
        return f"did you mean `{mended}`?"
    return None


def date_literal(start: int, end: int, text: str) -> Literal:
    """`2026-01-31`, `2026-01-31T10:00`, `2026-01-31T10:00:00+02:00`. Raises BadLiteral."""
    try:
        if len(text) == 10:
            return Literal(start, end, "date", date.fromisoformat(text).isoformat())
        return Literal(start, end, "datetime", datetime.fromisoformat(text).isoformat())
    except ValueError as error:
        raise BadLiteral("invalid-date", f"{error}") from None


def unescape(text: str) -> str:
    """Replaces escapes; unknown ones (reported by the lexer) stay as written."""
    if "\\" not in text and "$$" not in text:
        return text
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code:
        return chr(int(code, 16)) if _is_character(code) else match.group()
    if match[3]:
        return _ESCAPES.get(match[3].lstrip("\r"), match.group())
    return "$"


def escape_error(text: str) -> tuple[int, int] | None:
    """The place (start, end) of the first unknown escape in a raw text."""
    if "\\" not in text:
        return None
    for match in _ESCAPE.finditer(text):
        code = match[1] or match[2]
        wrong = not _is_character(code) if code else match[3] and match[3].lstrip("\r") not in _ESCAPES
        if wrong:
            return match.span()
    return None


def _is_character(code: str) -> bool:
    number = int(code, 16)
    return number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF


def dedent(pieces: list[str | None]) -> list[str | None]:
    """Strips a triple-quoted text, given as its raw pieces with None for each interpolation.

    When the closing quotes stand on a line of their own, their indentation is taken off every line, and the
    line ends after the opening and before the closing quotes go too.
    """
    texts = [piece.replace("\r\n", "\n") if piece is not None else None for piece in pieces]
    last = texts[-1] if texts else None
    if last is None or "\n" not in last or last[last.rindex("\n") + 1 :].strip(" \t"):
        return texts
    indent = last[last.rindex("\n") + 1 :]
    texts[-1] = last[: last.rindex("\n") + 1]
    stripped = [_without_indent(text, indent) if text is not None else None for text in texts]
    return _without_outer_line_ends(stripped)


def _without_indent(text: str, indent: str) -> str:
    if not indent:
        return text
    lines = text.split("\n")
    return "\n".join(lines[:1] + [_less(line, indent) for line in lines[1:]])


def _less(line: str, indent: str) -> str:
    if line.startswith(indent):
        return line[len(indent) :]
    return line.lstrip(" \t") if not line.strip(" \t") or line[0] in " \t" else line


def _without_outer_line_ends(texts: list[str | None]) -> list[str | None]:
    first, last = texts[0], texts[-1]
    if first is not None and first.lstrip(" \t").startswith("\n"):
        texts[0] = first[first.index("\n") + 1 :]
        last = texts[-1]
    if last is not None and last.endswith("\n"):
        texts[-1] = last[:-1]
    return texts
