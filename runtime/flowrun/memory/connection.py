"""The way of a request to the server and of its answer back, and what goes wrong there.

A request that is not answered is repeated by the real transport until its patience ends; the server knows it by its
key. So here it is done once, however often its answer is lost, and comes late; or whoever asked gives up, and does not
know whether it was done. While the connection is cut or the server is down, requests wait. What was sent arrives even
when the process that sent it has died meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from flowrun.errors import FlowError, TransportError

from .journal import SERVER
from .server import MemoryServer

__all__ = ["Connection"]

T = TypeVar("T")


class Connection:
    """`name` tells who it is, in simulation."""

    def __init__(self, server: MemoryServer, name: str) -> None:
        self.server, self.name = server, name
        self.closed = False
        #: its process was killed: nothing comes of it any more, and nothing reaches it
        self.dead = False
        self._cut = False
        #: loop time of its last reconnect
        self._reconnected: float | None = None
        self._held: list[Callable[[], None]] = []
        #: what is done at a reconnect
        self.on_reconnect: list[Callable[[], None]] = []
        #: what the server does when it sees that the process is gone
        self.on_death: list[Callable[[], None]] = []
        server.on_restart.append(self._act)

    # ---- requests

    async def request(self, effect: Callable[[], T], fail: float = 0.0) -> T:
        """What `effect`, done at the server, gives or raises. Raises TransportError. `fail`: the chance of that, beside
        that of all requests."""
        if self.closed:
            raise TransportError("this connection is closed")
        if self.dead:
            await asyncio.get_running_loop().create_future()
        server, faults = self.server, self.server.faults
        if faults.quiet and server.up and not self._cut:
            return effect()
        if faults.strikes(faults.fail) or faults.strikes(fail):
            await asyncio.sleep(faults.wait(faults.delay))
            raise TransportError()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.later(faults.wait(faults.delay), lambda: self._arrive(effect, answer))
        found: T = await answer
        return found

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, what, context=SERVER)

    def _arrive(self, effect: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        server, faults = self.server, self.server.faults
        if not server.up or self._cut:
            self._hold(effect, answer)
            return
        try:
            result, error = effect(), None
        except FlowError as raised:
            result, error = None, raised
        wait = faults.wait(faults.delay)
        if faults.strikes(faults.lose_answer):
            wait += server.settings.answer_timeout
            if faults.strikes(faults.give_up):
                wait, error = server.settings.patience, TransportError()
        self.later(wait, lambda: self._answer(answer, result, error))

    def _hold(self, effect: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        """It waits for the server, but not for ever."""

        def again() -> None:
            if not answer.done() and not self.dead:
                self.later(self.server.faults.wait(self.server.faults.delay), lambda: self._arrive(effect, answer))

        (self._held if self._cut else self.server.held).append(again)
        self.later(self.server.settings.patience, lambda: self._answer(answer, None, TransportError()))

    def _answer(self, answer: asyncio.Future[Any], result: Any, error: FlowError | None) -> None:
        if self._cut and not self.dead and not isinstance(error, TransportError):
            self._held.append(lambda: self._answer(answer, result, error))
        elif answer.done():
            return
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def deliver(self, what: Callable[[], None]) -> None:
        """Something from the server for this connection: it comes a little later, or when the connection is back."""
        if self.closed or self.dead:
            return
        if self._cut:
            if self.server.faults.strikes(0.5):  # else it is lost
                self._held.append(what)
        elif self.server.faults.delay:
            self.later(self.server.faults.wait(self.server.faults.delay), what)
        else:
            what()

    # ---- its states

    @property
    def reaches(self) -> bool:
        """A note gets through."""
        return self.server.up and not self._cut and not self.closed and not self.dead

    @property
    def fresh(self) -> bool:
        """It was made anew less than `ack_wait` ago."""
        times = [time for time in (self._reconnected, self.server.restarted) if time is not None]
        return bool(times) and self.server.now() - max(times) < self.server.settings.ack_wait

    @property
    def is_cut(self) -> bool:
        return self._cut

    def kill(self) -> None:
        """Its process is gone, and the server sees that."""
        self.dead = True
        for act in self.on_death:
            act()

    def cut(self) -> None:
        """Nothing gets through until `restore`."""
        self._cut = True

    def restore(self) -> None:
        self._cut = False
        self._reconnected = self.server.now()
        held, self._held = self._held, []
        for what in held:
            what()
        self._act()

    def _act(self) -> None:
        if not self.dead and not self.closed:
            for act in self.on_reconnect:
                act()
