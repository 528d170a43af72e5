"""What agent and executor say to each other over their socket: length-prefixed msgpack frames.

Results do not travel here but through `shared`, so that a dying executor takes none of them along.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

import msgspec
from flowc.plan import Expr

__all__ = ["Bell", "BlobReply", "Drop", "ExecutorKind", "FrameBuffer", "FromExecutor", "GetBlob", "GetCached", "Given",
           "Interrupt", "JobFrame", "Log", "PlanFrame", "PutBlob", "PutCached", "Ready", "Request", "Setup",
           "ToExecutor", "pack_frame"]  # fmt: skip

ExecutorKind = Literal["process", "thread", "async"]

_LENGTH = struct.Struct("<I")


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    """One frame."""


# ---- to the executor


class Setup(_Frame, frozen=True, tag="setup"):
    """The first frame: where tasks run. A process may be started before this is known."""

    #: the project's folder: working directory of tasks, first on their sys.path
    root: str
    #: more folders for sys.path, relative to `root`
    python: tuple[str, ...] = ()
    kind: ExecutorKind = "process"
    #: units that run at the same time; 1 for a process
    width: int = 1
    #: the server, and the environment on it, for tasks that submit others; "": they must know it themselves
    url: str = ""
    env: str = ""
    #: content hash of the code that is at `root`; "": it is the worker's own project
    code: str = ""


class PlanFrame(_Frame, frozen=True, tag="plan"):
    """A plan that following jobs use."""

    digest: str
    data: bytes


class JobFrame(_Frame, frozen=True, tag="job"):
    """A bundle. Tokens base, base + 1, … stand for its units: an item, one position of a range, a follower of an item.
    Only the first token of a chain comes down the pipe."""

    base: int
    #: a packed Bundle
    bundle: bytes


class Given(_Frame, frozen=True, tag="given"):
    """What jobs need that follow, beside themselves. Of each name the last one counts."""

    secrets: dict[str, str] = {}
    #: those that cannot be had: why, and whether another attempt may have them
    missing: dict[str, tuple[str, bool]] = {}
    #: of connections, the fields that are other than the plan has them: expressions
    fields: dict[str, dict[str, Expr]] = {}
    #: connections of which that cannot be told, as `missing`
    broken: dict[str, tuple[str, bool]] = {}

    def __repr__(self) -> str:
        return f"Given({sorted(self.secrets)})"  # whatever it is shown in: no value


class BlobReply(_Frame, frozen=True, tag="blob"):
    """The answer to a request."""

    request: int
    data: bytes = b""
    error: str | None = None


class Interrupt(_Frame, frozen=True, tag="interrupt"):
    """To an executor of kind async: the unit is to end, if it still runs."""

    token: int
    #: SoftTimeout is raised in it
    soft: bool


class Drop(_Frame, frozen=True, tag="drop"):
    """Followers that are not to be run."""

    tokens: tuple[int, ...]


# ---- from the executor


class Ready(_Frame, frozen=True, tag="ready"):
    """It has started and waits for work."""


class Bell(_Frame, frozen=True, tag="bell"):
    """Results were written since the last one."""


class Log(_Frame, frozen=True, tag="log"):
    """Text that the unit of this token wrote."""

    token: int
    stream: str
    text: str


class GetBlob(_Frame, frozen=True, tag="get"):
    request: int
    digest: str


class PutBlob(_Frame, frozen=True, tag="put"):
    request: int
    digest: str
    data: bytes


class GetCached(_Frame, frozen=True, tag="cached"):
    """A value that stands for a call, if there is one: else the reply is empty."""

    request: int
    key: str


class PutCached(_Frame, frozen=True, tag="cache"):
    request: int
    key: str
    data: bytes
    ttl_ms: int


#: what is answered by a BlobReply
Request = GetBlob | PutBlob | GetCached | PutCached
ToExecutor = Setup | PlanFrame | JobFrame | BlobReply | Interrupt | Drop | Given
FromExecutor = Ready | Bell | Log | Request

_encoder = msgspec.msgpack.Encoder()


def pack_frame(frame: ToExecutor | FromExecutor) -> bytes:
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Cuts what arrives into the bodies of frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete now."""
        self._data += data
        start = 0
        while len(self._data) - start >= 4:
            (length,) = _LENGTH.unpack_from(self._data, start)
            if len(self._data) - start - 4 < length:
                break
            yield bytes(self._data[start + 4 : start + 4 + length])
            start += 4 + length
        del self._data[:start]
