"""Leads partitions until it is told to end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from flowrun.errors import FlowError
from flowrun.ingress.intake import Intake
from flowrun.leading import Leading
from flowrun.logs import configure_logs
from flowrun.nats.transport import NatsTransport
from flowrun.settings import Settings
from flowrun.worker.launch import BAD_CONFIG

from .config import NodeConfig

__all__ = ["lead"]

log = logging.getLogger("flow.node")

#: what is left of the live runs of 20,000 events a second is looked through by the collector this often, in objects
_GC_THRESHOLD = 100_000


def lead() -> int:
    """Runs to the end; gives the exit code."""
    line = sys.stdin.buffer.readline()
    if not line:
        return 0  # whoever started this has nothing to do
    try:
        config = NodeConfig.from_json(line)
    except msgspec.DecodeError as error:
        print(f"leader: its configuration cannot be read: {error}", file=sys.stderr)
        return BAD_CONFIG
    configure_logs(config.log, config.log_level, node=config.name, role="leader")
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
    try:
        uvloop.run(_lead(config))
    except FlowError as error:
        log.error("%s", error)
        return 1
    return 0


async def _lead(config: NodeConfig) -> None:
    settings = Settings(
        env=config.env, replicas=config.replicas, durable=config.durable, partitions=config.partitions,
        trusted=config.trusted,
    )  # fmt: skip
    transport = await NatsTransport.connect(config.url, settings, f"flowc leader {config.name}")
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(0, _end_of_input, loop, stop)
    leading = Leading(transport, node=f"{config.name}/leader", settings=settings)
    intake = Intake(transport, settings, leading, Path(config.root))
    work, told = asyncio.create_task(leading.run()), asyncio.create_task(stop.wait())
    reading = asyncio.create_task(intake.run())
    try:
        await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
        await leading.stop()
        await work
    finally:
        for task in (told, work, reading):
            task.cancel()
        await asyncio.gather(work, reading, return_exceptions=True)
        await transport.close()


def _end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(0, 1024):
        loop.remove_reader(0)
        stop.set()
