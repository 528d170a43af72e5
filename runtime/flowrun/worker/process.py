"""The agent's side of one executor process: its frames, tokens, shared memory, output, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from array import array
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Literal

import msgspec

from .frames import FrameBuffer, FromExecutor, Interrupt, Setup, ToExecutor, pack_frame
from .shared import SharedMemory
from .spawn import Spawned

__all__ = ["ExecutorProcess"]

#: what a process said last is read for at most this time after its end, in seconds
DRAIN = 0.5
#: what is read from: its socket, its output, its error output
_ENDS = 3
_TOKEN_BYTES = 8
#: tokens written at once: a pipe takes that much or nothing
_TOKENS_AT_ONCE = select.PIPE_BUF // _TOKEN_BYTES
_decoder = msgspec.msgpack.Decoder(FromExecutor)


class ExecutorProcess:
    """Reports what comes by callbacks: frames, output of the process's children, and that it has gone."""

    def __init__(
        self,
        spawned: Spawned,
        setup: Setup,
        on_frame: Callable[[ExecutorProcess, FromExecutor], None],
        on_output: Callable[[ExecutorProcess, Literal["out", "err"], bytes], None],
        on_gone: Callable[[ExecutorProcess], None],
    ) -> None:
        self._spawned = spawned
        self._process = spawned.process
        self._setup = setup
        #: units that may run at the same time
        self.width = setup.width
        self._on_frame, self._on_output = partial(on_frame, self), partial(on_output, self)
        self._on_gone = partial(on_gone, self)
        self._transports: list[asyncio.BaseTransport] = []
        self._open_ends = _ENDS
        self._drained = asyncio.Event()
        self._released = False
        self._socket: asyncio.Transport | None = None
        self.memory = SharedMemory(spawned.memory)
        #: digests of the plans that were sent
        self.plans: set[str] = set()
        #: it can be talked to
        self.attached = False
        #: it said that it is ready
        self.ready = False
        #: it was given what is to be done
        self.resumed = False
        #: what becomes of its units is settled
        self.settled = False
        #: tokens that it was given, units that ended in it, and how many may: then it is replaced
        self.given, self.done, self.most_units = 0, 0, float("inf")
        #: its exit code, negative for a signal; None while it lives
        self.code: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    async def attach(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket, _ = await loop.create_unix_connection(
            lambda: _Frames(self._on_frame, self._socket_closed), sock=self._spawned.sock
        )
        self._transports.append(self._socket)
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        out_pipe, _ = await loop.connect_read_pipe(
            lambda: _Output(partial(self._on_output, "out"), self._end_closed), out
        )
        self._transports.append(out_pipe)
        err_pipe, _ = await loop.connect_read_pipe(
            lambda: _Output(partial(self._on_output, "err"), self._end_closed), err
        )
        self._transports.append(err_pipe)
        self.send(self._setup)
        self.attached = True

    def send(self, frame: ToExecutor) -> None:
        if self._socket is None or self.code is not None:
            return
        data = pack_frame(frame)
        if self._socket.get_write_buffer_size() == 0:
            try:  # now, and not at the end of this turn of the loop: the tokens that follow would be there first
                data = data[self._spawned.sock.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                return  # it is gone, which `_socket_closed` tells
        if data:
            self._socket.write(data)

    def offer(self, tokens: deque[int]) -> None:
        """Moves tokens into the pipe, as many as it takes."""
        while tokens and self.code is None:
            batch = array("Q", islice(tokens, _TOKENS_AT_ONCE))
            try:
                os.write(self._spawned.tokens[1], batch.tobytes())
            except BlockingIOError:
                return
            self.given += len(batch)
            if len(batch) == len(tokens):
                tokens.clear()
            for _ in range(min(len(batch), len(tokens))):
                tokens.popleft()

    def take_back(self) -> list[int]:
        """The tokens that the executor has not taken; it will not see them."""
        taken = bytearray()
        while True:
            try:
                data = os.read(self._spawned.tokens[0], 1 << 16)
            except BlockingIOError:
                break
            taken += data
        self.given -= len(taken) // _TOKEN_BYTES
        return [int.from_bytes(taken[i : i + 8], "little") for i in range(0, len(taken), _TOKEN_BYTES)]

    def ask_to_end(self, token: int) -> None:
        """Raises SoftTimeout in a unit."""
        if self._setup.kind == "async":
            self.send(Interrupt(token, soft=True))
        elif self.code is None:
            self.memory.ask_soft(token)
            os.kill(self.pid, signal.SIGUSR1)

    def look(self) -> bool:
        """True if it lives. Otherwise what it left behind is killed, and its exit code known."""
        if self.code is None and self._has_ended():
            self._kill_group()  # while its number is not free for others
            self.code = self._process.wait()
        return self.code is None

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """Ends it and all that it started, at once. `on_gone` follows."""
        if self.code is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing is left of it but its exit code
            os.killpg(self.pid, signal.SIGKILL)

    def _end_closed(self) -> None:
        self._open_ends -= 1
        if self._open_ends == 0:
            self._drained.set()

    async def drain(self) -> None:
        """Waits, after its end, until what it said last has been read."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drained.wait(), DRAIN)

    def _socket_closed(self) -> None:
        """The process ends; one that only closed its socket is of no use."""
        self._end_closed()
        self._kill_group()
        self._reap(0)

    def _reap(self, tries: int) -> None:
        if self.look() and tries < 2000:
            asyncio.get_running_loop().call_later(0.001, self._reap, tries + 1)
        else:
            self._on_gone()

    async def close(self) -> None:
        """Ends it and releases all that belongs to it."""
        self.kill()
        while self.look():  # noqa: ASYNC110 (it was killed: a matter of microseconds, and no event tells)
            await asyncio.sleep(0.001)
        if len(self._transports) == _ENDS:
            await self.drain()
        if self._released:
            return  # somebody else closed it at the same time, and the numbers of its files may be those of others
        self._released = True
        for transport in self._transports:
            transport.close()
        await asyncio.sleep(0)  # in which they close what is under them
        for end in (self._spawned.sock, self._process.stdout, self._process.stderr):
            if end is not None:
                end.close()  # what has no transport, because `attach` was cancelled
        for fd in (*self._spawned.tokens, self._spawned.memory):
            os.close(fd)
        self.memory.close()


class _Frames(asyncio.Protocol):
    def __init__(self, on_frame: Callable[[FromExecutor], None], on_closed: Callable[[], None]) -> None:
        self._buffer = FrameBuffer()
        self._on_frame = on_frame
        self._on_closed = on_closed

    def data_received(self, data: bytes) -> None:
        for body in self._buffer.feed(data):
            self._on_frame(_decoder.decode(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_closed()


class _Output(asyncio.Protocol):
    def __init__(self, on_data: Callable[[bytes], None], on_closed: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_closed = on_closed

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_closed()
