"""An executor's socket to its agent, by its descriptor: the module `socket` takes its time to import."""

from __future__ import annotations

import os
import threading
from collections import deque

import msgspec

from .frames import FrameBuffer, FromExecutor, ToExecutor, pack_frame

__all__ = ["Link"]

#: bytes that are read at once: for more the allocator would ask the system for memory each time
_AT_ONCE = 1 << 16


class Link:
    """Sends from any thread; one thread receives."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = FrameBuffer()
        self._frames: deque[ToExecutor] = deque()
        self._decoder = msgspec.msgpack.Decoder(ToExecutor)
        self._lock = threading.Lock()

    def fileno(self) -> int:
        return self._fd

    def send(self, frame: FromExecutor) -> None:
        data = memoryview(pack_frame(frame))
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def receive(self) -> ToExecutor:
        """Waits for a frame; ends the process when the agent is gone."""
        while not self._frames:
            self._read()
        return self._frames.popleft()

    def receive_all(self) -> list[ToExecutor]:
        """The same, and all that came with it: afterwards nothing is left that the descriptor does not tell of."""
        if not self._frames:
            self._read()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def _read(self) -> None:
        data = os.read(self._fd, _AT_ONCE)
        if not data:
            os._exit(0)
        self._frames.extend(map(self._decoder.decode, self._buffer.feed(data)))
