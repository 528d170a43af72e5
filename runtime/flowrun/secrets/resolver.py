"""Where a secret's value comes from: the first source that has it.

    env      variables FLOW_SECRET_X
    files    files of the folders in FLOW_SECRETS_DIR, or /run/secrets
    nats     sealed entries of the server (`flowc secret set`)
    plugins  external stores: HashiCorp Vault, AWS Secrets Manager, and what is installed

FLOW_SECRETS="files,nats" says that only these are asked, and in which order.

A value is remembered for `FRESH` seconds, so that a secret that was replaced is seen soon, and a bundle of a thousand
tasks asks once. When a source cannot tell (a vault is down), the value from before counts for `STALE` seconds more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from flowrun.errors import FlowError
from flowrun.transport import Transport

from .errors import SecretError, SecretMissing
from .keys import KeyRing, load_keys
from .plugins import Plugins
from .sealed_store import SealedStore
from .sources import Environment, Files, InThread, Source

__all__ = ["FRESH", "STALE", "Resolver"]

log = logging.getLogger("flow.secrets")

#: how long a value is remembered; how long it may stand in for one that cannot be had; in seconds
FRESH, STALE = 20.0, 300.0
_NAMES = ("env", "files", "nats", "plugins")


class Resolver:
    """Of one process. `clock`: seconds, as time.monotonic has them."""

    def __init__(self, sources: Sequence[Source], clock: Callable[[], float] = time.monotonic) -> None:
        self._sources, self._clock = tuple(sources), clock
        #: key -> value, and since when
        self._known: dict[str, tuple[str, float]] = {}
        #: what is being looked for
        self._open: dict[str, asyncio.Task[str]] = {}

    @classmethod
    def over(
        cls, transport: Transport | None, key_file: str = "", environment: Mapping[str, str] = os.environ
    ) -> Resolver:
        """As the environment says; without a transport none of the server's. Raises SecretError for a source that is
        not known."""
        named = [part.strip() for part in environment.get("FLOW_SECRETS", ",".join(_NAMES)).split(",") if part.strip()]
        for name in named:
            if name not in _NAMES:
                raise SecretError(f"FLOW_SECRETS names `{name}`, and the sources are {', '.join(_NAMES)}")
        plugins = Plugins()
        sources: dict[str, Source] = {
            "env": Environment(environment),
            "files": Files.of(environment),
            "plugins": InThread(plugins.get, plugins.how),
        }
        if transport is not None:
            sources["nats"] = _Server(transport, key_file, environment)
        return cls([sources[name] for name in named if name in sources])

    async def get(self, key: str) -> str:
        """The value. Raises SecretMissing, SecretError, TransportError."""
        fresh = self.fresh(key)
        if fresh is not None:
            return fresh
        task = self._open.get(key)
        if task is None:  # whoever asks meanwhile waits for the same answer, also when the first one gives up
            task = self._open[key] = asyncio.create_task(self._find(key))
            task.add_done_callback(lambda done: self._found(key, done))
        return await asyncio.shield(task)

    def fresh(self, key: str) -> str | None:
        """The value if it is remembered."""
        known = self._known.get(key)
        return known[0] if known is not None and self._clock() - known[1] < FRESH else None

    def forget(self) -> None:
        """What is asked for next is looked for anew."""
        self._known.clear()

    async def has(self, key: str) -> bool:
        """Whether it can be resolved here. Raises SecretError if that cannot be told."""
        try:
            await self.get(key)
        except SecretMissing:
            return False
        return True

    def _found(self, key: str, task: asyncio.Task[str]) -> None:
        del self._open[key]
        if not task.cancelled():
            task.exception()  # whoever waits raises it; maybe nobody does any more

    async def _find(self, key: str) -> str:
        try:
            value = await self._ask(key)
        except SecretMissing:
            self._known.pop(key, None)
            raise
        except FlowError as error:
            known = self._known.get(key)
            if known is None or self._clock() - known[1] > STALE:
                raise
            log.warning("the secret `%s` cannot be asked for anew, its last value is used: %s", key, error)
            return known[0]
        self._known[key] = (value, self._clock())
        return value

    async def _ask(self, key: str) -> str:
        for source in self._sources:
            value = await source.get(key)
            if value is not None:
                return value
        ways = [way for way in (source.how(key) for source in self._sources) if way]
        raise SecretMissing(f"there is no secret `{key}`: {', or '.join(ways) or 'no source is configured'}")


class _Server:
    """The sealed entries. Keys are read when something sealed is met first; anew, when a key is missing."""

    def __init__(self, transport: Transport, key_file: str, environment: Mapping[str, str]) -> None:
        self._transport, self._key_file, self._environment = transport, key_file, environment
        self._keys: KeyRing | None = None

    async def get(self, key: str) -> str | None:
        try:
            if not await SealedStore(self._transport, KeyRing()).has(key):
                return None
        except SecretError:
            return None  # it is no name that the server could have
        if self._keys is not None:
            try:
                return await SealedStore(self._transport, self._keys).get(key)
            except SecretError:
                self._keys = None  # a key file may have been replaced
        self._keys = await asyncio.to_thread(load_keys, self._key_file, self._environment)
        return await SealedStore(self._transport, self._keys).get(key)

    def how(self, key: str) -> str:
        return f"`flowc secret set {key}`"
