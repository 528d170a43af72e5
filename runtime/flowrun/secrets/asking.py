"""Whether the nodes of an environment can resolve secrets: asked before a deployment that needs them.

A question goes to all workers as a live note (topic `needs`); each answers to the asker (topic `has`) which of the keys
it can resolve, and why not the others. No value leaves a node.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress

import msgspec

from flowrun.errors import FlowError, TransportError
from flowrun.messages import MessageError, Presence, unpack
from flowrun.transport import Transport

from .errors import SecretMissing
from .resolver import Resolver

__all__ = ["Resolves", "answer_questions", "ask_nodes"]

log = logging.getLogger("flow.secrets")

#: who is there says so every second; so long is listened for those who do, in seconds
_PRESENCE_SECONDS = 1.3
#: one that is there, and asks a store that is far away, is waited for this long, in seconds
_ANSWER_SECONDS = 8.0
#: keys of one question
_MOST_KEYS = 1_000


class _Needs(msgspec.Struct, frozen=True, array_like=True):
    """A question."""

    id: str
    keys: tuple[str, ...]


class Resolves(msgspec.Struct, frozen=True, array_like=True):
    """A worker's answer."""

    #: the node's name, as Presence has it, and the process that answers
    node: str
    pid: int
    found: tuple[str, ...]
    #: the others, and why
    missing: dict[str, str]


_needs_decoder = msgspec.msgpack.Decoder(_Needs)
_answer_decoder = msgspec.msgpack.Decoder(Resolves)
_encoder = msgspec.msgpack.Encoder()


async def answer_questions(transport: Transport, resolver: Resolver, node: str, pid: int) -> None:
    """Without end."""
    async for data in await transport.listen("needs", "*"):
        try:
            question = _needs_decoder.decode(data)
        except msgspec.DecodeError:
            continue  # of another version
        with suppress(TransportError):  # whoever asks waits for so long, and says that we did not answer
            answer = await _answer(resolver, question.keys[:_MOST_KEYS], node, pid)
            await transport.notify("has", question.id, _encoder.encode(answer))


async def _answer(resolver: Resolver, keys: Sequence[str], node: str, pid: int) -> Resolves:
    reasons = await asyncio.gather(*(_why_missing(resolver, key) for key in keys))
    missing = {key: reason for key, reason in zip(keys, reasons, strict=True) if reason}
    return Resolves(node, pid, tuple(key for key in keys if key not in missing), missing)


async def _why_missing(resolver: Resolver, key: str) -> str:
    """ "": it can be had."""
    try:
        await resolver.get(key)
    except SecretMissing as error:
        return str(error)
    except FlowError as error:
        return f"the secret `{key}` cannot be had: {error}"
    return ""


async def ask_nodes(transport: Transport, keys: Iterable[str]) -> list[Resolves]:
    """The answers of all workers that live; one that does not answer in time is not there. Takes a second or so."""
    question = _Needs(secrets.token_hex(8), tuple(sorted(keys)))
    answers: dict[tuple[str, int], Resolves] = {}
    there: set[tuple[str, int]] = set()
    listening = [await transport.listen("has", question.id), await transport.listen("presence", "*")]
    readers = [
        asyncio.create_task(_read_answers(listening[0], answers)),
        asyncio.create_task(_read_presence(listening[1], there)),
    ]
    try:
        await transport.notify("needs", question.id, _encoder.encode(question))
        await asyncio.sleep(_PRESENCE_SECONDS)
        async with asyncio.timeout(_ANSWER_SECONDS):
            while not there <= answers.keys():  # noqa: ASYNC110 - notes tell, and they are few
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return [answers[name] for name in sorted(answers)]


async def _read_answers(notes: AsyncIterator[bytes], found: dict[tuple[str, int], Resolves]) -> None:
    async for data in notes:
        with suppress(msgspec.DecodeError):
            answer = _answer_decoder.decode(data)
            found[answer.node, answer.pid] = answer


async def _read_presence(notes: AsyncIterator[bytes], there: set[tuple[str, int]]) -> None:
    """Those that execute work."""
    async for data in notes:
        with suppress(MessageError):
            one = unpack(data, Presence)
            if one.capacity and not one.stopping:
                there.add((one.node, one.pid))
