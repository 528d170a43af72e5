"""The most frequent unit, a call of a Python function whose arguments are the step's inputs as they are, in one go.

What `execute` does step by step for every kind of unit is done here in one function, for what can need no more: no
environment of its own, no facts of the attempt, no expression. The results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowrun import values
from flowrun.operator import DYNAMIC
from flowrun.wire import INLINE_LIMIT

from .arguments import PassedInput
from .ended import NOTHING_RETURNED, Blobs, Ended, ended_by, success
from .functions import Function
from .shared import SUCCESS

__all__ = ["QuickCall"]

#: what is no awaitable, for sure
_READY = frozenset({int, str, float, bool, bytes, type(None), list, dict, tuple})


class QuickCall:
    """A step, for all its attempts. `write` gives the bytes of a result; None: it is dropped."""

    __slots__ = ("_arguments", "_call", "_convert", "_replaced", "_wanted", "_write")

    def __init__(
        self,
        function: Function,
        arguments: Sequence[PassedInput],
        write: Callable[[Any], bytes] | None,
        replaced: Callable[[Any, Blobs], Ended],
    ) -> None:
        self._call, self._convert = function.call, function.convert
        #: with the class whose objects need no conversion; None: no object does
        self._arguments = [(one.name, one.at, one.read, function.wanted.get(one.name), one) for one in arguments]
        self._write = write
        #: the end of a unit that gives what replaces it
        self._replaced = replaced

    def run(self, inputs: Sequence[bytes], blobs: Blobs, wait: Callable[[Any], Any]) -> Ended:
        """A unit from begin to end; `wait` gives the result of an awaitable. Whatever is raised is its end."""
        try:
            arguments = {}
            for name, at, read, wanted, passed in self._arguments:
                try:
                    value = read(inputs[at], blobs.get)
                except values.TypeMismatch as error:
                    raise passed.misfit(error) from None
                if wanted is not None and type(value) is not wanted:
                    value = self._convert(name, value)
                arguments[name] = value
            value = self._call(**arguments)
            if type(value) not in _READY:
                if hasattr(value, "__await__"):
                    value = wait(value)
                if type(value) in DYNAMIC:
                    return self._replaced(value, blobs)
            if self._write is None:
                return NOTHING_RETURNED
            data = self._write(value)
            return Ended(SUCCESS, data) if len(data) <= INLINE_LIMIT else success(data, blobs)
        except BaseException as error:  # user code may raise anything, SystemExit and KeyboardInterrupt included
            return ended_by(error)
