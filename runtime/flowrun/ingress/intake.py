"""Reads what comes from outside by itself, for the triggers of the partitions that this process leads.

Each source that waits for messages or files has a reader here, as long as the engine of its partition knows it and it
is not paused. What a paused trigger waits for waits as well: in its stream, in its folder. During a change of leaders
two may read for a moment; what both put into the inbox counts once.

The leader of partition 0 has the subjects of all deployed triggers kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from flowc.plan import EventSource, FileSource, TriggerDef

from flowrun.background import Background
from flowrun.deployments.trust import Trust
from flowrun.engine.triggered import Triggered
from flowrun.errors import FlowError
from flowrun.manifest import Manifest
from flowrun.settings import Settings
from flowrun.transport import Transport

from .deployed import Deployments
from .files import FileReader
from .leftovers import Leftovers
from .refusals import Refusals, write_unheard
from .room import Room
from .routes import Route, event_routes, sources_of
from .subjects import SubjectReader, hearing_name

__all__ = ["Intake", "Led"]

log = logging.getLogger("flow.ingress")

#: between two looks at what there is to read for, in seconds
_LOOK_SECONDS = 0.5
#: subjects are said to be wanted as often as this, in seconds; after a failure, sooner
_KEEP_SECONDS, _KEEP_AGAIN = 60.0, 2.0


class Led(Protocol):
    """What is led from here."""

    def triggers(self) -> Mapping[str, Mapping[str, Triggered]]:
        """Partition -> its triggers by id, of those whose take-over is done."""


class _Reading(msgspec.Struct, frozen=True):
    """A source that is to be read."""

    partition: str
    route: Route
    #: when its trigger was deployed first, milliseconds since 1970
    since_ms: int

    @property
    def key(self) -> bytes:
        """Another one if anything about it changes."""
        return msgspec.msgpack.encode(self)


class Intake:
    """`run` without end. `root`: the project's folder, to which patterns of files are relative."""

    def __init__(self, transport: Transport, settings: Settings, led: Led, root: Path) -> None:
        self._transport, self._settings, self._led, self._root = transport, settings, led, root
        self._refusals = Refusals(transport)
        self._leftovers = Leftovers(transport, settings, self._refusals)
        self._sources = _Sources()
        self._rooms: dict[str, Room] = {}
        #: by what they read
        self._readers: dict[bytes, asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None

    async def run(self) -> None:
        writing = asyncio.create_task(self._refusals.run())
        try:
            while True:
                await self._look()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            tasks = [writing, *self._readers.values(), *([self._keeper] if self._keeper else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._refusals.flush()

    async def _look(self) -> None:
        led = self._led.triggers()
        sources = list(self._sources.of(led))
        readings = [
            _Reading(partition, route, trigger.since_ms)
            for partition, trigger, routes in sources
            if trigger.is_live
            for route in routes
        ]
        self._read({reading.key: reading for reading in readings})
        self._keep("0" in led)
        if not led:  # in a new environment there is nothing to be looked at yet
            return
        try:
            await self._leftovers.clear(led, [(partition, trigger) for partition, trigger, _ in sources])
        except FlowError as error:
            log.warning("what is left of triggers that are gone stays for now: %s", error)

    def _read(self, wanted: Mapping[bytes, _Reading]) -> None:
        """Starts and ends readers."""
        for key in self._readers.keys() - wanted.keys():
            self._readers.pop(key).cancel()
        for key in wanted.keys() - self._readers.keys():
            run = self._reader(wanted[key])
            self._readers[key] = asyncio.create_task(_safely(f"for trigger {wanted[key].route.trigger}", run))

    def _reader(self, reading: _Reading) -> Callable[[], Awaitable[None]]:
        partition, route = reading.partition, reading.route
        room = self._rooms.setdefault(partition, Room(self._transport, partition, self._settings))
        if isinstance(route.source, EventSource):
            return SubjectReader(self._transport, route, partition, room, self._refusals).run
        return FileReader(
            self._transport, route, partition, room, self._refusals, self._root, reading.since_ms
        ).run  # fmt: skip

    def _keep(self, leads: bool) -> None:
        """Has subjects kept while partition 0 is led from here."""
        if leads and self._keeper is None:
            keeper = _Keeper(self._transport, self._settings)
            self._keeper = asyncio.create_task(_safely("of all subjects", keeper.run))
        elif not leads and self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None


class _Sources:
    """The triggers with sources that are read, among the many that have none: each is looked into once."""

    def __init__(self) -> None:
        #: trigger -> what was looked into, and the routes that are read
        self._known: dict[str, tuple[TriggerDef, tuple[Route, ...]]] = {}

    def of(self, led: Mapping[str, Mapping[str, Triggered]]) -> Iterator[tuple[str, Triggered, tuple[Route, ...]]]:
        """Partition, trigger, routes."""
        for partition, triggers in led.items():
            for trigger in triggers.values():
                known = self._known.get(trigger.id)
                if known is None or known[0] is not trigger.definition:
                    known = self._known[trigger.id] = (trigger.definition, _routes_of(trigger))
                if known[1]:
                    yield partition, trigger, known[1]


def _routes_of(trigger: Triggered) -> tuple[Route, ...]:
    found = sources_of(trigger.id, trigger.definition, trigger.types)
    return tuple(route for route in found if isinstance(route.source, EventSource | FileSource))


async def _safely(what: str, run: Callable[[], Awaitable[None]]) -> None:
    """A defect in one reader ends no other, and it begins again."""
    while True:
        try:
            await run()
        except FlowError as error:
            log.warning("the reader %s begins again: %s", what, error)
        except Exception:
            log.exception("the reader %s begins again, after a defect: please report it", what)
        await asyncio.sleep(_KEEP_AGAIN)


class _Keeper:
    """Has the subjects of all deployed triggers kept."""

    def __init__(self, transport: Transport, settings: Settings) -> None:
        self._transport = transport
        self._deployments = Deployments(transport, settings.env, Trust(settings.trusted), self._changed)
        self._routes: list[Route] = []
        self._news = asyncio.Event()
        self._unheard: dict[str, dict[int, str]] | None = None

    def _changed(self, manifests: Iterable[Manifest]) -> None:
        self._routes = event_routes(manifests)
        self._news.set()

    async def run(self) -> None:
        background = Background()
        background.start(self._deployments.run())
        try:
            await background.watch(self._work())
        finally:
            await background.stop()

    async def _work(self) -> None:
        await self._deployments.ready.wait()
        while True:
            self._news.clear()
            wait = await self._say()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _say(self) -> float:
        """How long it holds, in seconds."""
        wanted = {hearing_name(route.trigger, route.place): route for route in self._routes}
        subjects = {
            name: route.source.subject for name, route in wanted.items() if isinstance(route.source, EventSource)
        }
        try:
            problems = await self._transport.keep_heard(subjects)
            unheard: dict[str, dict[int, str]] = {}
            for name, why in problems.items():
                unheard.setdefault(wanted[name].trigger, {})[wanted[name].place] = why
            if unheard != self._unheard:
                for trigger, places in unheard.items():
                    log.error("trigger %s: %s", trigger, "; ".join(places.values()))
                await write_unheard(self._transport, unheard)
                self._unheard = unheard
        except FlowError as error:
            log.warning("the subjects of triggers are not kept yet: %s", error)
            return _KEEP_AGAIN
        return _KEEP_AGAIN * 5 if problems else _KEEP_SECONDS
