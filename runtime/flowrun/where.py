"""Which server, and which environment on it, a program speaks to that does not say: FLOW_NATS_URL and FLOW_ENV; within
a task, those of its worker; else a server on this host, and "dev". And which code the plans have that it makes.

A worker tells its executors only what is no secret, and not by their environment, which others can read.
"""

from __future__ import annotations

import os

__all__ = ["code", "environment", "server_url", "tell"]

_LOCAL = "nats://127.0.0.1:4222"
#: what the worker told
_told = {"url": "", "env": "", "code": ""}


def tell(url: str, env: str, code: str = "") -> None:
    """This process runs tasks of a worker on this server; url "": that one's holds a password. `code`: the content hash
    of the deployed code that it sees, and nothing else."""
    _told.update(url=url, env=env, code=code)


def server_url() -> str:
    return os.environ.get("FLOW_NATS_URL") or _told["url"] or _LOCAL


def environment() -> str:
    return os.environ.get("FLOW_ENV") or _told["env"] or "dev"


def code() -> str:
    """What `Plan.code` is of plans that are made here: their tasks are found where this process finds its own."""
    return _told["code"]
