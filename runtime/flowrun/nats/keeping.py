"""The stream that keeps what other systems publish, and who reads it.

A subject that a stream of somebody else holds is read there. All others are held by one stream of the account, which
the environments share; its metadata say which subjects each of them wants. Each name that wants a subject has a durable
consumer of its own on every stream with such messages. In the shared stream a message stays until all of these have
acknowledged it (retention by interest), or for `Settings.keep_heard`.

JetStream changes a stream without comparing: of two environments that change it at once, one may be undone. So it is
read again after a change, and whoever wants something says so again from time to time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from flowrun import names
from flowrun.errors import StoreError, TransportError
from flowrun.settings import Settings

from .api import NO_STREAM, ApiError
from .connection import Connection
from .streams import consumers_of
from .subjects import cover, covers, why_not_heard

__all__ = ["Keeping", "streams_of"]

_NO_CONSUMER = 10014
_SECOND_NS = 1_000_000_000
#: in the stream's metadata: what an environment wants
_WANTS = "flow.wants."
#: a consumer that nobody seems to want is deleted after this time, in seconds
_STRAY_SECONDS = 30.0
#: a change that another one undid is made again so often
_TRIES = 5


class _Names(msgspec.Struct, frozen=True):
    total: int = 0
    streams: list[str] | None = None


class Keeping:
    """Of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._settings: Settings = connection.settings
        self._stream = names.heard_stream()
        #: what this connection wanted last
        self._wanted: dict[str, str] = {}
        #: consumers of this environment that it does not want -> since when, in loop time
        self._strays: dict[str, float] = {}

    async def keep(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """As `Transport.keep_heard`."""
        problems = {name: why for name, subject in wanted.items() if (why := why_not_heard(subject)) is not None}
        sound = {name: subject for name, subject in wanted.items() if name not in problems}
        held = dict(zip(sound, await asyncio.gather(*map(self._holders, sound.values())), strict=True))
        refused = await self._hold({subject for name, subject in sound.items() if not held[name]})
        for name, subject in sound.items():
            if not held[name] and refused is not None:
                problems[name] = refused
            elif (why := await self._read_for(name, subject, held[name])) is not None:
                problems[name] = why
        await self._forget({name: subject for name, subject in self._wanted.items() if wanted.get(name) != subject})
        self._wanted = dict(wanted)
        await self._clear_strays({names.heard_consumer(self._settings.env, *each) for each in wanted.items()})
        return problems

    async def _holders(self, subject: str) -> list[str]:
        """Streams of others that hold some of a subject."""
        return [stream for stream in await streams_of(self._connection, subject) if stream != self._stream]

    # ---- the shared stream

    async def _hold(self, subjects: Collection[str]) -> str | None:
        """Has these subjects kept for this environment; why they are not, if so."""
        mine = " ".join(sorted(subjects))
        for _ in range(_TRIES):
            config = await self._config()
            wants = {} if config is None else dict(config.get("metadata") or {})
            key = _WANTS + names.token(self._settings.env)
            if wants.get(key, "") == mine:
                return None
            wants = {**wants, key: mine} if mine else {name: text for name, text in wants.items() if name != key}
            error = await self._change(config, wants)
            if error is not None:
                return f"JetStream does not keep it: {error.description}"
            await asyncio.sleep(random.uniform(0.0, 0.05))  # another environment may have changed it at the same time
        return "its stream is changed again and again by others"

    async def _config(self) -> dict[str, Any] | None:
        answer = await self._connection.api(f"STREAM.INFO.{self._stream}")
        if isinstance(answer, bytes):
            found: dict[str, Any] = msgspec.json.decode(answer)["config"]
            return found
        if answer.err_code == NO_STREAM:
            return None
        raise TransportError(f"{self._connection.url} does not tell of {self._stream}: {answer.description}")

    async def _change(self, config: dict[str, Any] | None, wants: dict[str, str]) -> ApiError | None:
        """Makes the stream hold what all environments want; removes it when that is nothing."""
        wanted = cover(subject for key, text in wants.items() if key.startswith(_WANTS) for subject in text.split())
        if not wanted:
            answer = await self._connection.api(f"STREAM.DELETE.{self._stream}") if config is not None else b""
        elif config is None:
            answer = await self._connection.api(f"STREAM.CREATE.{self._stream}", self._new(wanted, wants))
        else:
            config = {**config, "subjects": wanted, "metadata": wants}
            answer = await self._connection.api(f"STREAM.UPDATE.{self._stream}", config)
        return answer if isinstance(answer, ApiError) else None

    def _new(self, subjects: list[str], wants: dict[str, str]) -> dict[str, Any]:
        return {
            "name": self._stream,
            "subjects": subjects,
            "metadata": wants,
            "storage": "file",
            "retention": "interest",
            "discard": "old",
            "max_age": int(self._settings.keep_heard * _SECOND_NS),
            "num_replicas": self._settings.replicas,
            "duplicate_window": 120 * _SECOND_NS,
            "allow_direct": True,
        }

    # ---- consumers

    async def _read_for(self, name: str, subject: str, held: list[str]) -> str | None:
        """Makes the consumers of a name, where they are not; what is wrong."""
        consumer = names.heard_consumer(self._settings.env, name, subject)
        for stream in held or [self._stream]:
            answer = await self._connection.api(
                f"CONSUMER.CREATE.{stream}.{consumer}.{subject}",
                {"stream_name": stream, "config": self._consumer(consumer, subject), "action": ""},
            )
            if isinstance(answer, ApiError):
                return f"the stream {stream} does not let it be read: {answer.description}"
        if held and not await self._is_whole(subject, held):
            return f"only what the streams {', '.join(held)} hold of `{subject}` is heard: no stream can hold the rest"
        return None

    def _consumer(self, name: str, subject: str) -> dict[str, Any]:
        return {
            "name": name,
            "durable_name": name,
            "filter_subject": subject,
            "ack_policy": "explicit",
            "ack_wait": int(self._settings.heard_wait * _SECOND_NS),
            "max_deliver": -1,
            "max_ack_pending": self._settings.max_ack_pending,
            "deliver_policy": "new",
            "replay_policy": "instant",
            # one that nobody forgot, because the node that would have died, goes by itself
            "inactive_threshold": int(self._settings.keep_heard * _SECOND_NS),
        }

    async def _is_whole(self, subject: str, held: list[str]) -> bool:
        """These streams hold all of a subject."""
        for stream in held:
            answer = await self._connection.api(f"STREAM.INFO.{stream}")
            if isinstance(answer, bytes):
                subjects = msgspec.json.decode(answer)["config"].get("subjects") or ()
                if any(covers(one, subject) for one in subjects):
                    return True
        return False

    async def _clear_strays(self, wanted: Collection[str]) -> None:
        """Deletes consumers of names that somebody wanted who is gone. Not at once: whoever took over from us may know
        more than we do."""
        mine = names.heard_prefix(self._settings.env)
        listed = await consumers_of(self._connection, self._stream)
        now = asyncio.get_running_loop().time()
        found = [name for name in listed if name.startswith(mine) and name not in wanted]
        self._strays = {name: self._strays.get(name, now) for name in found}
        for name in [name for name, since in self._strays.items() if now - since > _STRAY_SECONDS]:
            await self._connection.api(f"CONSUMER.DELETE.{self._stream}.{name}")

    async def _forget(self, gone: Mapping[str, str]) -> None:
        for name, subject in gone.items():
            consumer = names.heard_consumer(self._settings.env, name, subject)
            for stream in {*await streams_of(self._connection, subject), self._stream}:
                answer = await self._connection.api(f"CONSUMER.DELETE.{stream}.{consumer}")
                if isinstance(answer, ApiError) and answer.err_code not in (NO_STREAM, _NO_CONSUMER):
                    raise StoreError(f"the consumer {consumer} cannot be deleted: {answer.description}")


async def streams_of(connection: Connection, subject: str) -> list[str]:
    """Streams that hold some of a subject."""
    answer = await connection.api("STREAM.NAMES", {"subject": subject})
    if isinstance(answer, ApiError):
        raise TransportError(f"{connection.url} does not tell who holds {subject}: {answer.description}")
    return msgspec.json.decode(answer, type=_Names).streams or []
