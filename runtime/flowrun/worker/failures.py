"""Failures of attempts, from what user code raised: the type, the message, and the user's part of the traceback."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

import msgspec

from flowrun.errors import FlowError, StoreError, TransportError
from flowrun.messages import Failure
from flowrun.operator import Fail, Retry, SoftTimeout

from .mask import process_mask

__all__ = ["MAX_DETAIL", "MAX_MESSAGE", "TaskFailed", "cut", "from_exception", "mismatch", "not_found",
           "pack_failure", "unpack_failure"]  # fmt: skip

#: of a failure's message and detail, in characters
MAX_MESSAGE, MAX_DETAIL = 2_000, 6_000
#: frames of a traceback: so many first ones, so many last ones
_FIRST, _LAST = 3, 7
#: errors of the runtime that another attempt may mend; others (a wrong type) stay what they are
_MAY_PASS = (StoreError, TransportError)
_HERE = str(Path(__file__).parent)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Failure)


def pack_failure(failure: Failure) -> bytes:
    return _encoder.encode(failure)


def unpack_failure(data: bytes) -> Failure:
    return _decoder.decode(data)


class TaskFailed(Exception):
    """Carries the failure of an attempt up to where it ends."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def not_found(message: str) -> TaskFailed:
    return TaskFailed(Failure("NotFound", message, retryable=False))


def mismatch(message: str) -> Failure:
    return Failure("TypeMismatch", cut(message, MAX_MESSAGE), retryable=False)


def cut(text: str, most: int) -> str:
    """The text without values of secrets, its middle left out if it is longer than `most` characters; always
    encodable."""
    text = process_mask()(text)  # before: half a secret would not be known any more
    if len(text) > most:
        half = most // 2
        text = f"{text[:half]} … {len(text) - 2 * half:,} characters left out … {text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def from_exception(error: BaseException) -> Failure:
    """What a task's exception means for its attempt."""
    if isinstance(error, TaskFailed):
        return error.failure
    if isinstance(error, SystemExit):
        return Failure("SystemExit", f"the task called sys.exit({error.code!r})", _trace(error))
    if isinstance(error, FlowError):
        return Failure(type(error).__name__, cut(str(error), MAX_MESSAGE), retryable=isinstance(error, _MAY_PASS))
    wait = int(error.after * 1000) if isinstance(error, Retry) and error.after is not None else None
    return Failure(
        "SoftTimeout" if isinstance(error, SoftTimeout) else type(error).__name__,
        cut(_message(error), MAX_MESSAGE),
        cut(_trace(error), MAX_DETAIL),
        retryable=not isinstance(error, Fail),
        retry_after_ms=wait,
    )


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as second:  # a broken __str__ of a user's exception
        return f"(its message cannot be shown: {type(second).__name__})"
    if isinstance(error, KeyError) and error.args:
        return f"no key {text}"
    notes = getattr(error, "__notes__", [])
    return "\n".join([text or f"{type(error).__name__} without a message", *map(str, notes)])


def _trace(error: BaseException) -> str:
    """The user's frames as a traceback shows them, and what the error came from."""
    lines = _frames(error.__traceback__)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and not isinstance(cause, TaskFailed):
        lines.append(f"caused by {type(cause).__name__}: {_message(cause)}\n")
        lines += _frames(cause.__traceback__)
    return "".join(lines)


def _frames(trace: TracebackType | None) -> list[str]:
    frames = [
        (frame.f_code.co_filename, line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(trace)
        if not frame.f_code.co_filename.startswith((_HERE, "<frozen importlib"))
    ]
    if len(frames) > _FIRST + _LAST:
        skipped = f"  … {len(frames) - _FIRST - _LAST} frames left out …\n"
        return [*_show(frames[:_FIRST]), skipped, *_show(frames[-_LAST:])]
    return _show(frames)


def _show(frames: list[tuple[str, int, str]]) -> list[str]:
    return traceback.format_list([traceback.FrameSummary(name, line, function) for name, line, function in frames])
