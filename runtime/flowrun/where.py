"""Which server, and which environment on it, a program speaks to that does not say: FLOW_NATS_URL and FLOW_ENV; within
a task, those of its worker; else a server on this host, and "dev".

A worker tells its executors only what is no secret, and not by their environment, which others can read.
"""

from __future__ import annotations

import os

__all__ = ["environment", "server_url", "tell"]

_LOCAL = "nats://127.0.0.1:4222"
#: what the worker told
_told = {"url": "", "env": ""}


def tell(url: str, env: str) -> None:
    """This process runs tasks of a worker on this server; "": that one's URL holds a password."""
    _told.update(url=url, env=env)


def server_url() -> str:
    return os.environ.get("FLOW_NATS_URL") or _told["url"] or _LOCAL


def environment() -> str:
    return os.environ.get("FLOW_ENV") or _told["env"] or "dev"
