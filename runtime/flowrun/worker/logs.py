"""What tasks write: bounded, masked, and attributed to the attempt that wrote it.

`LogLimit` lets an attempt's output through up to a rate; of what is beyond, it keeps the end and says how much was
left out, so that a task that prints a megabyte neither blocks nor floods. A `Mask` hides the values of secrets.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable

from .mask import Mask

__all__ = ["LogLimit", "LogWriter"]

#: characters that pass at once, and then per second
BURST, RATE = 64 * 1024, 16 * 1024
#: chunks that pass at once, and then per second
CHUNK_BURST, CHUNK_RATE = 500.0, 100.0
#: a line that ends with so many characters of a secret's beginning waits for the next one
OPEN = 4
#: of what was left out, the last characters are shown
TAIL = 4 * 1024


class LogLimit:
    """Limits one stream of one attempt."""

    def __init__(self, now: float) -> None:
        self._room = float(BURST)
        self._chunks = CHUNK_BURST
        self._then = now
        self._held = ""
        self._left_out = 0

    def feed(self, text: str, now: float) -> str:
        """What may be shown now of the text and what was held back before it; "" for nothing."""
        passed, self._then = now - self._then, now
        self._room = min(BURST, self._room + passed * RATE)
        self._chunks = min(CHUNK_BURST, self._chunks + passed * CHUNK_RATE)
        if self._held or len(text) > self._room or self._chunks < 1:
            self._hold(text)
            if len(self._held) > self._room or self._chunks < 1:
                return ""
            text = self.rest()
        self._room -= len(text)
        self._chunks -= 1
        return text

    @property
    def holds(self) -> bool:
        """Something is held back."""
        return bool(self._held)

    def rest(self) -> str:
        """The end of what was held back, and how much is missing before it."""
        text, missing = self._held, self._left_out
        self._held, self._left_out = "", 0
        return f"[… {missing:,} characters left out …]\n{text}" if missing else text

    def _hold(self, text: str) -> None:
        held = self._held + text
        if len(held) > TAIL:
            cut = len(held) - TAIL
            line = held.find("\n", cut, cut + TAIL // 2) + 1  # whole lines, if they are not too long
            cut = line or cut
            self._left_out += cut
            held = held[cut:]
        self._held = held


class _Stream:
    """What one attempt writes to one stream."""

    def __init__(self) -> None:
        self.limit = LogLimit(time.monotonic())
        #: unfinished lines, by thread: tasks may have several, and `print` writes a line in parts
        self.lines: dict[int, str] = {}
        #: the end of what was written, which may be the beginning of a secret that is cut into lines
        self.open = ""


class LogWriter(io.TextIOBase):
    """sys.stdout and sys.stderr of user code: whole lines go to `emit` with the token of the attempt that wrote them
    (`speaker`), limited and masked.

    Its file descriptor is the process's own, for code that asks for one (subprocess).
    """

    def __init__(
        self, fd: int, mask: Mask, emit: Callable[[int, str], None], speaker: Callable[[], int] = lambda: 0
    ) -> None:
        self._fd = fd
        self._mask = mask
        self._emit = emit
        self._speaker = speaker
        self._streams: dict[int, _Stream] = {}
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        return self._fd

    @property
    def buffer(self) -> io.FileIO:
        """For code that writes bytes: past the limits and the mask of this writer, but those of the agent hold."""
        return io.FileIO(self._fd, "w", closefd=False)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread, token = threading.get_ident(), self._speaker()
        with self._lock:
            stream = self._streams.get(token)
            if stream is None:
                stream = self._streams[token] = _Stream()
            lines, newline, rest = (stream.lines.get(thread, "") + text).rpartition("\n")
            if len(rest) > BURST:
                lines, newline, rest = lines + newline + rest, "", ""
            stream.lines[thread] = rest
            if lines or newline:
                self._show(token, stream, lines + newline)
        return len(text)

    def _show(self, token: int, stream: _Stream, text: str, *, is_last: bool = False) -> None:
        text = stream.open + text
        held = 0 if is_last else self._mask.unfinished(text, OPEN)
        text, stream.open = text[: len(text) - held], text[len(text) - held :]
        shown = stream.limit.feed(self._mask(text), time.monotonic())
        if shown:
            self._emit(token, shown)

    def end_attempt(self, token: int = 0) -> None:
        """Shows what is left; the next attempt starts with a limit of its own."""
        if not self._streams:
            return
        with self._lock:
            stream = self._streams.pop(token, None)
            if stream is None:
                return
            for line in filter(None, stream.lines.values()):
                self._show(token, stream, line)
            if stream.open:
                self._show(token, stream, "", is_last=True)
            rest = stream.limit.rest()
            if rest:
                self._emit(token, rest)
