"""What the commands that speak to nodes share: a client for as long as one takes, and errors as one message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flowrun.client import Client
from flowrun.errors import FlowError

from .errors import InputError
from .server import ServerChoice

__all__ = ["with_client"]


def with_client(server: ServerChoice, work: Callable[[Client], Awaitable[int]]) -> int:
    """Connects, does the work, and gives its exit code. Raises InputError."""

    async def main() -> int:
        async with Client.connect(server.url, server.env) as client:
            return await work(client)

    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            return runner.run(main())
    except FlowError as error:
        raise InputError(str(error)) from error


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
