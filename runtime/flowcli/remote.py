"""What the commands that speak to nodes share: a client, for as long as one takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flowrun.client import Client

from .loop import new_loop
from .server import ServerChoice

__all__ = ["with_client"]


def with_client(server: ServerChoice, work: Callable[[Client], Awaitable[int]]) -> int:
    """Connects, does the work, and gives its exit code. Raises FlowError, InputError."""

    async def main() -> int:
        async with Client.connect(server.url, server.env) as client:
            return await work(client)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())
