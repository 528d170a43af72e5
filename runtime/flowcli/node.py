"""`flowc node`: a node of an environment, in the foreground, as a service wants it."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
from pathlib import Path
from typing import Any, Literal

import click

from .errors import EXIT_INPUT, InputError
from .output import say
from .server import node_table, profile_of

__all__ = ["command"]

_SLOTS = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?")
_ROLES = ("leader", "worker", "ingress")
_DEFAULT_ROLES = ("leader", "worker")
_DEFAULT_PORT = 4222


@click.command("node")
@click.option("--nats", metavar="URL", envvar="FLOW_NATS_URL", show_envvar=True,
              help="The NATS server; several with commas. Without one, one is started in .flow/node.")  # fmt: skip
@click.option("--env", metavar="NAME", envvar="FLOW_ENV", show_envvar=True, help="Environment. [default: dev]")
@click.option("--name", metavar="NAME", envvar="FLOW_NODE_NAME", show_envvar=True,
              help="Unique among the nodes. [default: the host's name and a random part]")  # fmt: skip
@click.option("--roles", metavar="LIST", envvar="FLOW_ROLES", show_envvar=True,
              help="Some of `leader`, `worker`, `ingress`. [default: leader,worker; ingress with --http]")  # fmt: skip
@click.option("--queues", metavar="LIST", envvar="FLOW_QUEUES", show_envvar=True,
              help="Queues that its worker serves. [default: default and those that the project declares]")  # fmt: skip
@click.option("--slots", metavar="N|A..B", envvar="FLOW_SLOTS", show_envvar=True,
              help="Tasks that run at the same time, or bounds to scale between. [default: one per core]")  # fmt: skip
@click.option("--async-slots", type=click.IntRange(0, 100_000), help='Tasks with `executor: "async"`. [default: 100]')
@click.option("--thread-slots", type=click.IntRange(0, 1_000), help='Tasks with `executor: "thread"`. [default: 16]')
@click.option("--http", metavar="HOST:PORT", envvar="FLOW_HTTP", show_envvar=True,
              help="Take webhooks there. [default: none; with the role ingress: 127.0.0.1:8080]")  # fmt: skip
@click.option("--grace", type=click.IntRange(0, 86_400), metavar="SECONDS",
              help="How long running tasks may go on after SIGTERM. [default: 30]")  # fmt: skip
@click.option("--log", type=click.Choice(["text", "json"]), envvar="FLOW_LOG", show_envvar=True,
              help="Form of the log on standard error. [default: text]")  # fmt: skip
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), envvar="FLOW_LOG_LEVEL",
              help="[default: info]")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65_535),
              help=f"Of the own server on 127.0.0.1; 0: a free one. [default: {_DEFAULT_PORT}]")  # fmt: skip
@click.option(
    "--durable",
    is_flag=True,
    help="The server syncs every write to disk (an own one does then): survives a power loss.",
)
@click.option("--partitions", type=click.IntRange(1, 64), help="Of a new environment. [default: 8; own server: 1]")
@click.option("--replicas", type=click.Choice(["1", "3", "5"]), help="Copies of each stream. [default: 1]")
def command(**given: Any) -> int:
    """Run a node of an environment: it leads partitions (decides what runs when) and executes work.

    It runs in the project's folder, whose Python modules its tasks import. Options win over FLOW_… variables, and those
    over [node] in flow.toml. SIGTERM: partitions go to other nodes, running tasks may end within the grace period, and
    what is left is handed back; a second signal ends it at once. Exit code 78: the configuration is wrong.
    """
    from flowrun.worker.launch import BAD_CONFIG

    try:
        return _serve(given)
    except InputError as error:
        say(error.text(), err=True)
        return BAD_CONFIG  # whoever starts it need not try again


def _serve(given: dict[str, Any]) -> int:
    from flowrun.logs import configure_logs
    from flowrun.node.config import NodeConfig

    from .local import python_folders
    from .targets import find_root, scan_queues

    root = find_root(None)
    known = {**node_table(root), **{name: value for name, value in given.items() if value is not None}}
    profile = profile_of(given.get("nats"), given.get("env"), root)
    url = profile.url
    if url and "port" in known:
        help = "leave out --port to use that one, or --nats, FLOW_NATS_URL and `nats` in flow.toml for an own one"
        raise InputError("--port is that of an own server, and another server is named", help=help)
    name = known.get("name") or f"{socket.gethostname()}-{secrets.token_hex(2)}"
    config = NodeConfig(
        url=url or "", env=profile.env, name=name, trusted=_trusted(profile.trusted), roles=_roles(known),
        http=_http(known.get("http")),
        queues=tuple(sorted(_names(known.get("queues")) or scan_queues(None, root))),
        slots=_slots(known.get("slots")), async_slots=known.get("async_slots", 100),
        thread_slots=known.get("thread_slots", 16), root=str(root), python=python_folders(root),
        grace=known.get("grace", 30), log=known.get("log", "text"), log_level=known.get("log_level", "info"),
        replicas=int(known.get("replicas", 1)), durable=known["durable"],
        partitions=known.get("partitions") or (8 if url else 1), key_file=profile.key_file,
    )  # fmt: skip
    if config.log not in ("text", "json"):
        raise InputError(f"`log` is {config.log!r}", place="flow.toml", help='write log = "text" or log = "json"')
    configure_logs(config.log, config.log_level, node=name)
    return asyncio.run(_run(config, root, known))


async def _run(config: Any, root: Path, known: dict[str, Any]) -> int:
    import msgspec
    from flowrun.errors import FlowError
    from flowrun.node.own_server import keep_server
    from flowrun.node.supervise import supervise
    from flowrun.server import EmbeddedServer

    if config.url:
        return await supervise(config)
    server = EmbeddedServer(
        root / ".flow" / "node", durable=known["durable"], port=_free(known.get("port", _DEFAULT_PORT))
    )
    try:
        async with server:
            logging.getLogger("flow.node").info("no NATS server is given: an own one listens on %s", server.url)
            return await supervise(msgspec.structs.replace(config, url=server.url), keep_server(server))
    except FlowError as error:
        say(f"error: {error}", err=True)
        return EXIT_INPUT


def _free(port: int) -> int:
    """The port, if nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            help = f"use the server that listens there with --nats nats://127.0.0.1:{port}, or another --port"
            raise InputError(f"port {port} of 127.0.0.1 is taken", place=f"--port {port}", help=help) from error
    return port


def _names(text: str | list[str] | None) -> tuple[str, ...]:
    """A list, or names with commas between."""
    parts = text.split(",") if isinstance(text, str) else text or ()
    return tuple(part.strip() for part in parts if part.strip())


def _http(address: str | None) -> str:
    """Where webhooks are taken."""
    host, _, port = (address or "127.0.0.1:8080").rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InputError(f"`{address}` is no address", place="--http", help="write it as 127.0.0.1:8080")
    return f"{host}:{port}"


def _roles(known: dict[str, Any]) -> tuple[Literal["leader", "worker", "ingress"], ...]:
    """Those that were named, and the ingress where it was told what to listen on."""
    text = known.get("roles", _DEFAULT_ROLES)
    roles = _names(text if isinstance(text, str) else list(text))
    wrong = [role for role in roles if role not in _ROLES]
    if wrong or not roles:
        found = f"`{wrong[0]}` is no role" if wrong else "a node without a role does nothing"
        raise InputError(found, place="--roles", help="the roles are `leader`, `worker` and `ingress`")
    if known.get("http"):
        roles = (*roles, "ingress")
    return tuple(role for role in _ROLES if role in roles)  # type: ignore[misc]


def _trusted(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Public keys that are such."""
    if keys:
        from flowrun.deployments.signing import KeyProblem
        from flowrun.deployments.trust import Trust

        try:
            Trust(keys)
        except KeyProblem as error:
            raise InputError(str(error), place="flow.toml", help="mend `trusted`") from error
    return keys


def _slots(value: int | str | None) -> tuple[int, int]:
    """From, to."""
    if value is None:
        return (os.cpu_count() or 1,) * 2
    found = _SLOTS.fullmatch(str(value).strip())
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not found or not 1 <= high <= 1024 or low > high:
        help = "write a number from 1 to 1024, or bounds as 2..8"
        raise InputError(f"`{value}` is no number of slots", place="--slots", help=help)
    return low, high
