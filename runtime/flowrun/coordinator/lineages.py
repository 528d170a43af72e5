"""Lineage of runs, for an OpenLineage backend: told at least once, and in nobody's way.

That a run begins is told when its first work is ready; where that does not get through, its end tells it, too. What is
to be told of a run that ended is written into an entry before the run is forgotten; a loop sends what lies in entries,
and removes what was taken. So neither a backend that is away nor a leader that dies loses anything, and runs do not
wait: they only share the moment in which their records are stored. A backend that is away for very long loses what
comes beyond `_MOST` entries, and the log says so.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flowrun.errors import FlowError
from flowrun.lineage_reports import RunReport, decode_reports, encode_reports
from flowrun.settings import Settings
from flowrun.transport import Entry, Transport

if TYPE_CHECKING:
    from flowrun.lineage_events import Sender

__all__ = ["Lineages", "is_wanted", "namespace_of"]

log = logging.getLogger("flow.coordinator")

#: batches of ended runs that wait to be sent
_MOST = 10_000
#: beginnings that are sent before it is noted that they were
_TOGETHER = 50
#: between two tries to send, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0


def is_wanted(environment: Mapping[str, str]) -> bool:
    """The environment says where OpenLineage events go, and does not switch them off."""
    if environment.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    named = any(environment.get(name) for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG"))
    return named or any(name.startswith("OPENLINEAGE__TRANSPORT") for name in environment) or _has_file()


def _has_file() -> bool:
    """A file that the client looks for where nothing is said."""
    return Path("openlineage.yml").is_file() or Path("~/.openlineage/openlineage.yml").expanduser().is_file()


def namespace_of(env: str, environment: Mapping[str, str]) -> str:
    """The namespace of jobs, and of datasets whose names say none."""
    return environment.get("OPENLINEAGE_NAMESPACE") or f"flow/{env}"


class Lineages:
    """Of one partition. `token`: no other leader's."""

    def __init__(self, transport: Transport, partition: str, token: str, settings: Settings) -> None:
        self._transport, self._token = transport, token
        self._prefix = f"lineage.{partition}"
        self._namespace = namespace_of(settings.env, os.environ)
        self._wake = asyncio.Event()
        #: batches that were written, and those that were not sent yet, as far as this leader knows
        self._count = self._waiting = 0
        self._sender: Sender | None = None
        #: what is to be told of runs that began; all runs of which work was ready: was it told?
        self._beginnings: deque[RunReport] = deque()
        self._known: dict[str, bool] = {}
        #: events are wanted, and can be sent
        self.is_on = is_wanted(os.environ)
        if self.is_on and importlib.util.find_spec("openlineage") is None:
            self.is_on = False
            log.error("lineage is not emitted: OPENLINEAGE_… is set, but its client is missing (`flowc[lineage]`)")

    def begin(self, run: str, report: Callable[[], RunReport | None]) -> None:
        """Work of a run is ready: is it the first? `report` gives what is to be told; None: nothing is."""
        if run in self._known:
            return
        found = report()
        self._known[run] = False
        if found is not None and len(self._beginnings) < _MOST:
            self._beginnings.append(found)
            self._wake.set()

    def end(self, run: str) -> bool:
        """It has ended. True: that it began was told."""
        return self._known.pop(run, False)

    def key(self, reports: list[RunReport]) -> str:
        """The name of a batch of reports: in the order of their ends."""
        self._count += 1
        return f"{self._prefix}.{reports[0].ended_ms:014d}-{self._token}-{self._count}"

    async def keep(self, key: str, reports: list[RunReport]) -> None:
        """From now on they are sent, whatever happens. The same key again is the same batch. Raises StoreError,
        TransportError."""
        if self._waiting >= _MOST:
            log.error("the lineage of %d runs is dropped: %d batches wait for the backend", len(reports), _MOST)
            return
        await self._transport.write_entry(key, encode_reports(reports))
        self._waiting += 1
        self._wake.set()

    async def run(self) -> None:
        """Sends what there is, without end."""
        wait = _FIRST_WAIT
        while True:
            self._wake.clear()
            try:
                await self._send_all()
                wait = _FIRST_WAIT
            except Exception as error:  # whatever a backend, or its client, comes up with: it is tried again
                log.warning("lineage waits, its backend takes none: %s: %s", type(error).__name__, error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            await self._wake.wait()

    async def _send_all(self) -> None:
        while self._beginnings:
            some = [self._beginnings[i] for i in range(min(len(self._beginnings), _TOGETHER))]
            await _in_thread(partial(self._sending, [one for one in some if one.run in self._known]))
            for one in some:
                self._beginnings.popleft()
                if one.run in self._known:
                    self._known[one.run] = True
        entries = [entry for entry in await self._transport.entries(self._prefix) if entry.data]
        self._waiting = len(entries)
        for entry in sorted(entries, key=lambda entry: entry.key):
            await self._send(entry)
            await self._transport.remove_entry(entry.key)
            self._waiting -= 1

    async def _send(self, entry: Entry) -> None:
        try:
            reports = decode_reports(entry.data)
        except msgspec.DecodeError as error:
            log.warning("lineage in %s is left out, for it cannot be read: %s", entry.key, error)
            return
        await _in_thread(partial(self._sending, reports))

    def _sending(self, reports: list[RunReport]) -> None:
        if self._sender is None:
            from flowrun.lineage_events import Sender  # start-up time: most leaders send none

            self._sender = Sender(self._namespace)
        self._sender.send(reports)


async def _in_thread(work: Callable[[], None]) -> None:
    """Does it on a thread that holds up no end of the process: a backend may keep its caller for long."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not done.done():
            done.set_result(None) if error is None else done.set_exception(error)

    def target() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:
            error = raised if not isinstance(raised, StopIteration) else FlowError(str(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=target, name="lineage", daemon=True).start()
    await done
