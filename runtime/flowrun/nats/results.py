"""Stores the records of ended runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from flowrun import names

from .connection import Connection
from .publisher import Publisher

__all__ = ["put_results"]


async def put_results(
    connection: Connection, publisher: Publisher, records: Sequence[tuple[str, bytes]], keep_seconds: float
) -> None:
    """Returns when the server has all. Of two records of one run the last is kept."""
    env = connection.settings.env
    headers = {"Nats-TTL": f"{max(round(keep_seconds), 1)}s"}
    await asyncio.gather(
        *(
            publisher.publish(names.result_subject(env, run), data, headers=headers)
            for run, data in dict(records).items()
        )
    )
