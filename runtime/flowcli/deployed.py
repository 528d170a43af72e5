"""What `history` and `deployments` do: they show what was, and what is deployed."""

from __future__ import annotations

import msgspec
from flowc.project import find_project
from flowrun.deployments.reading import read_deployed, read_history
from flowrun.transport import Transport

from .deployment_answers import deployments_of, history_of
from .errors import EXIT_OK
from .output import say
from .remote import with_transport
from .server import server_of
from .showing_deployments import show_answer
from .targets import find_root

__all__ = ["show_deployments", "show_history"]


def show_history(project: str, url: str | None, env: str | None, as_json: bool) -> int:
    """Gives the exit code. `project`: its name; "": that of this folder. Raises InputError, FlowError."""
    root = find_root(None)
    server = server_of(url, env, root)
    name = project or find_project(root).name

    async def work(transport: Transport) -> int:
        read = await read_history(transport, name)
        return _show(history_of(name, server.env, read.history.deployments), as_json)

    return with_transport(server, work)


def show_deployments(url: str | None, env: str | None, as_json: bool) -> int:
    """Gives the exit code. Raises InputError, FlowError."""
    server = server_of(url, env, find_root(None))

    async def work(transport: Transport) -> int:
        return _show(deployments_of(server.env, await read_deployed(transport)), as_json)

    return with_transport(server, work)


def _show(answer: msgspec.Struct, as_json: bool) -> int:
    if as_json:
        say(msgspec.json.encode(answer))
    else:
        show_answer(answer)
    return EXIT_OK
