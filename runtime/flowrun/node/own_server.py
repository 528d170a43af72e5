"""The nats-server that a node has for itself: it is started again when it dies, on the same port and store.

What it acknowledged is in its store, and leaders, workers and clients connect again by themselves.
"""

from __future__ import annotations

import asyncio
import logging

from flowrun.errors import TransportError
from flowrun.server import EmbeddedServer

__all__ = ["keep_server"]

log = logging.getLogger("flow.node")

#: a server that dies younger than this did not start well, in seconds
_YOUNG = 10.0
#: the wait before a start after so many early deaths in a row, in seconds; one more, and there is no other start
_WAITS = (0.0, 0.2, 0.5, 1.0, 2.0)


async def keep_server(server: EmbeddedServer) -> None:
    """Returns after `server.stop`. Raises TransportError if the server dies again and again, and what
    `EmbeddedServer.start` raises."""
    loop = asyncio.get_running_loop()
    early = 0
    while True:
        born = loop.time()
        try:
            await server.watch()
        except TransportError as error:
            early = early + 1 if loop.time() - born < _YOUNG else 0
            if early == len(_WAITS):
                raise
            log.error("%s; it is started again in %g s", error, _WAITS[early])
        else:
            return
        await asyncio.sleep(_WAITS[early])
        await server.restart()
