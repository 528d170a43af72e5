"""Hides the values of secrets in what is shown: the output of tasks, the messages and traces of errors.

A value is also found as it is often written: as base64 (also inside of a longer text, as `user:password` in a header),
in hex, quoted for a URL, escaped as in JSON or in Python; its lines by themselves; and cut into lines. What a task does
to it beyond that (reverses it, prints it letter by letter) is not seen through.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache

__all__ = ["Mask", "process_mask"]

#: shorter values are not hidden, for they would be found everywhere; nor are shorter lines, or encodings
_SHORTEST, _SHORTEST_LINE, _SHORTEST_CODE = 4, 8, 8
_SHOWN = "***"


class Mask:
    """Replaces what it has learnt by asterisks. It begins with the values of variables FLOW_SECRET_…."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._learnt: set[str] = set()
        #: longest first
        self._forms: list[str] = []
        #: a value, and what finds it where it is cut into lines
        self._cut: dict[str, re.Pattern[str]] = {}
        self.learn(value for name, value in environment.items() if name.startswith("FLOW_SECRET_"))

    def learn(self, values: Iterable[str]) -> None:
        """Hides these, too, from now on."""
        new = {value for value in values if len(value) >= _SHORTEST} - self._learnt
        if new:
            self._learnt |= new
            forms = {*self._forms}.union(*map(_forms, new))
            self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        if not self._forms:
            return text
        for form in self._forms:
            if form in text:
                text = text.replace(form, _SHOWN)
        return self._without_cut(text) if "\n" in text.rstrip("\n") else text

    def _without_cut(self, text: str) -> str:
        whole = text.replace("\n", "").replace("\r", "")
        for value in self._learnt:
            if "\n" not in value and value in whole:
                if value not in self._cut:
                    self._cut[value] = re.compile(r"[\r\n]*".join(map(re.escape, value)))
                text = self._cut[value].sub(_SHOWN, text)
        return text

    def unfinished(self, text: str, least: int = 1) -> int:
        """How many characters at the end may be the beginning of something to be hidden, if at least so many are: the
        rest may follow. Line breaks do not count."""
        whole = text.replace("\n", "").replace("\r", "") if self._forms else ""
        most = max((_overlap(whole, form) for form in self._forms), default=0)
        if most < max(least, 1):
            return 0
        at = len(text)
        while most:
            at -= 1
            most -= text[at] not in "\r\n"
        return len(text) - at


@cache
def process_mask() -> Mask:
    """What this process hides: one for all that it shows, for what one task was given another may show."""
    return Mask()


def _overlap(text: str, form: str) -> int:
    """The longest end of the text that a form begins with, and that is not all of it."""
    at = text.find(form[0], max(0, len(text) - len(form) + 1))
    while at >= 0:
        if form.startswith(text[at:]):
            return len(text) - at
        at = text.find(form[0], at + 1)
    return 0


def _forms(value: str) -> set[str]:
    """How a value may be written."""
    import json  # start-up time: most executors are given no secret
    from urllib.parse import quote, quote_plus

    data = value.encode("utf-8", "surrogateescape")
    codes = {quote(data, safe=""), quote_plus(data), data.hex(), data.hex().upper()}
    codes |= {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    codes |= {form for shift in range(3) for form in _base64(data, shift)}
    found = {code for code in codes if len(code) >= _SHORTEST_CODE}
    found |= {line for line in value.splitlines() if len(line) >= _SHORTEST_LINE}
    return found | {value}


def _base64(data: bytes, shift: int) -> Iterable[str]:
    """What is the same in every base64 text in which the data stand after so many bytes (modulo 3)."""
    import base64  # as above

    first, last = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(b"\0" * shift + data).decode()[first:last]
