"""The ingress process of a node: `python -m flowrun.ingress`; the first line of its standard input is a NodeConfig as
JSON. It ends when its standard input does, that is, with its supervisor, or on a signal; requests that are being
answered are, before."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable

import msgspec
import uvloop

from flowrun.background import Background
from flowrun.deployments.trust import Trust
from flowrun.errors import FlowError
from flowrun.logs import configure_logs
from flowrun.manifest import Manifest
from flowrun.nats.transport import NatsTransport
from flowrun.node.config import NodeConfig
from flowrun.secrets import Resolver
from flowrun.settings import Settings
from flowrun.transport import Transport
from flowrun.worker.launch import BAD_CONFIG

from .deployed import Deployments
from .desk import Desk
from .http import HttpServer, listen
from .routes import webhook_routes
from .webhooks import Limits, Secrets, Webhooks

__all__ = ["Ingress", "serve"]

log = logging.getLogger("flow.ingress")


class Ingress:
    """The webhooks of an environment on one socket: follows what is deployed, answers requests. `run` until `stop`."""

    def __init__(
        self, transport: Transport, settings: Settings, address: str, secrets: Secrets, trust: Trust, limits: Limits
    ) -> None:
        self._transport, self._settings, self._address = transport, settings, address
        self._secrets, self._trust, self._limits = secrets, trust, limits
        self._stopping = asyncio.Event()
        #: where it listens, once `ready` is set
        self.port = 0
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Raises BadAddress, TransportError, StoreError."""
        listener = listen(self._address)
        desk = await Desk.open(self._transport, self._settings)
        background = Background()
        try:
            await background.watch(self._serve(listener, desk, background))
        finally:
            await background.stop()
            await desk.close()
            listener.close()

    async def _serve(self, listener: socket.socket, desk: Desk, background: Background) -> None:
        webhooks = Webhooks(desk, self._secrets, self._limits)
        server = HttpServer(webhooks, listener, self._limits)

        def changed(manifests: Iterable[Manifest]) -> None:
            webhooks.routes = webhook_routes(manifests)
            log.info("webhooks: %s", ", ".join(sorted(webhooks.routes)) or "none is deployed")

        deployments = Deployments(self._transport, self._settings.env, self._trust, changed)
        webhooks.problem = lambda: deployments.problem
        background.start(deployments.run())
        await deployments.ready.wait()
        self.port = server.port
        serving = asyncio.create_task(server.run())
        try:
            log.info("webhooks are taken on port %d of %s", server.port, self._address.rpartition(":")[0])
            self.ready.set()
            await self._stopping.wait()
        finally:
            server.stop()
            await serving

    def stop(self) -> None:
        self._stopping.set()


def serve() -> int:
    """Runs to the end; gives the exit code."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 0  # whoever started this has nothing to do
    try:
        config = NodeConfig.from_json(line)
    except msgspec.DecodeError as error:
        print(f"ingress: its configuration cannot be read: {error}", file=sys.stderr)
        return BAD_CONFIG
    configure_logs(config.log, config.log_level, node=config.name, role="ingress")
    try:
        uvloop.run(_serve(config))
    except FlowError as error:
        log.error("%s", error)
        return 1
    return 0


async def _serve(config: NodeConfig) -> None:
    settings = Settings(env=config.env, replicas=config.replicas, durable=config.durable, partitions=config.partitions)
    transport = await NatsTransport.connect(config.url, settings, f"flowc ingress {config.name}")
    try:
        ingress = Ingress(
            transport,
            settings,
            config.http,
            Resolver.over(transport, config.key_file),
            Trust(config.trusted),
            Limits(grace=config.grace),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(number, ingress.stop)
        loop.add_reader(0, _end_of_input, loop, ingress)
        await ingress.run()
    finally:
        await transport.close()


def _end_of_input(loop: asyncio.AbstractEventLoop, ingress: Ingress) -> None:
    if not os.read(0, 1024):
        loop.remove_reader(0)
        ingress.stop()
