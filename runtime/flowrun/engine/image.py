"""What is left of an ended run, so that it can be run again from a step: its image.

It holds how each node of the run's body ended, with its value. What ran inside of a step is left out, for a step runs
again as a whole: a child run, a `repeat`. Of an `each` there is how its items ended, and of one that did not succeed
also their values, so that only those run again that must. Values are as they were: large ones are references.

An image is no part of the state. It is made when a run ends, stored beside its record, and read when somebody wants a
rerun; so its format is its own, and older ones are read for as long as records are kept.
"""

from __future__ import annotations

import msgspec

from flowrun.compression import CompressionError, compressed, expanded
from flowrun.messages import Failure

from .state import SUCCESS, Attempt, Fan, Run

__all__ = ["Image", "ImageError", "encode_image", "is_worth_an_image", "pack_image", "plan_of", "unpack_image"]

_FORMAT = 1


class ImageError(Exception):
    """An image cannot be read."""


class Image(msgspec.Struct, array_like=True, frozen=True):
    """The body of a run that ended. Tables by node, as `Scope` has them; new fields at the end."""

    format: int
    run: str
    flow: str
    #: content hash of its plan
    plan: str
    #: how the run ended, and when (milliseconds since 1970)
    state: int
    ended_ms: int
    #: a state per node, the parameters first; WAITING: it runs in any case
    states: bytes
    values: list[bytes | None]
    arms: dict[int, int] = {}
    errors: dict[int, Failure] = {}
    attempts: dict[int, Attempt] = {}
    seconds: bytes | None = None
    fans: dict[int, Fan] = {}
    #: join -> its members in the order of their successes
    joined: dict[int, list[int]] = {}
    #: node -> the packed records of what ran inside of it
    rows: dict[int, bytes] = {}
    #: it was made for another plan than the run had: even if every step keeps its end, what they come to may differ
    forked: bool = False
    #: member of a group -> what it added, as `Scope` has it
    added: dict[int, tuple[int, bytes]] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Image)


def is_worth_an_image(run: Run) -> bool:
    """It began, and there is more to keep of it than one task's success; nothing, where the flow says so."""
    body = run.body
    if body is None:
        return False
    return run.state != SUCCESS or (body.graph.lone < 0 and not body.graph.plan.drops_result)


def encode_image(run: Run) -> bytes:
    """The bytes of the image of a run that ended, to be stored `compressed`. O(its size)."""
    body = run.body
    assert body is not None
    return _encoder.encode(
        (
            _FORMAT, run.id, run.flow, run.plan, run.state, run.ended_ms, body.states, body.values, body.arms,
            body.errors, body.attempts, body.seconds, body.fans, body.joined, body.rows, False, body.added,
        )
    )  # fmt: skip


def plan_of(encoded: bytes) -> str:
    """The content hash of the plan of an encoded image."""
    return _decoder.decode(encoded).plan


def pack_image(image: Image) -> bytes:
    """The stored form of an image that was made of another one."""
    return compressed(_encoder.encode(image))


def unpack_image(data: bytes) -> Image:
    """From the stored form. Raises ImageError."""
    try:
        image = _decoder.decode(expanded(data))
    except (CompressionError, msgspec.DecodeError) as error:
        raise ImageError(f"it is damaged, or another version wrote it ({error})") from error
    if image.format != _FORMAT:
        raise ImageError(f"it has format {image.format}, and this version reads format {_FORMAT}")
    return image
