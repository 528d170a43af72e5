"""What the commands that speak to nodes share: a client, for as long as one takes.

A run that `flowc run` leads belongs to a partition of its own, on a server of its own most often. The folder that it
was started in remembers both: so commands in that folder find it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from flowrun.client import Client
from flowrun.nats.transport import NatsTransport
from flowrun.server import EmbeddedServer
from flowrun.settings import Settings
from flowrun.transport import Transport

from .errors import InputError
from .loop import new_loop
from .runs import RUNNING, SUBMITTING, Runs
from .server import ServerChoice, server_of
from .targets import find_root

__all__ = ["Place", "place_of", "with_client", "with_place", "with_transport"]


class Place(NamedTuple):
    """Where a command finds a run."""

    server: ServerChoice
    #: of a run that `flowc run` leads; None: it is one of the environment's
    partition: str | None = None


def place_of(run: str, url: str | None, env: str | None) -> tuple[str, Place]:
    """The id of a run ("last": the latest one of this folder; "": none in particular), and where it is: without a run,
    where `flowc run` leads one here just now, if nobody said which server is meant. Raises InputError."""
    root = find_root(None)
    known = Runs(root).find(run or "last")
    if run == "last" and known is None:
        raise InputError("no run was started in this folder yet", place=str(root), help="name the run by its id")
    is_meant = known is not None and (run or (url is None and known.url is None))
    if known is not None and is_meant and known.state in (SUBMITTING, RUNNING):
        found = known.url or EmbeddedServer(root / ".flow").running_url()
        if found is not None:
            return run and known.run, Place(ServerChoice(found, known.env), known.partition)
        if run:
            help = f"`flowc run --resume {known.run}` goes on with it"
            raise InputError(f"nothing runs the run `{known.run}` just now", place=str(root), help=help)
    if run and known is not None and known.url is None:
        help = f"`flowc run --rerun {known.run}` goes on with it"
        raise InputError(f"the run `{known.run}` has ended ({known.state})", place=str(root), help=help)
    return known.run if run and known is not None else run, Place(server_of(url, env, root))


def with_client(server: ServerChoice, work: Callable[[Client], Awaitable[int]]) -> int:
    """Connects, does the work, and gives its exit code. Raises FlowError, InputError."""
    return with_place(Place(server), work)


def with_place(place: Place, work: Callable[[Client], Awaitable[int]]) -> int:
    """The same, for a run that may belong to a partition of its own."""

    async def main() -> int:
        async with Client.connect(place.server.url, place.server.env, partition=place.partition) as client:
            return await work(client)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())


def with_transport(server: ServerChoice, work: Callable[[Transport], Awaitable[int]]) -> int:
    """Connects, does work that needs no run, and gives its exit code. Raises FlowError, InputError."""

    async def main() -> int:
        transport = await NatsTransport.connect(server.url, Settings(env=server.env), "flowc")
        try:
            await transport.open_partition("0")  # the first of the environment may be this command
            return await work(transport)
        finally:
            await transport.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main())
