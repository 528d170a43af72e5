"""What the processes of a node must know. It travels as JSON over their standard input: a URL may hold a password."""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrun.logs import LogFormat

__all__ = ["NodeConfig", "Role"]

#: "leader": it leads partitions, as many as fall to it; "worker": it executes work; "ingress": it takes webhooks
Role = Literal["leader", "worker", "ingress"]


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One node."""

    #: "nats://127.0.0.1:4222"; several with commas
    url: str
    env: str = "dev"
    #: unique among the nodes of an environment
    name: str
    roles: tuple[Role, ...] = ("leader", "worker")
    #: what its workers take
    queues: tuple[str, ...] = ("default",)
    #: items that run at the same time in processes: from, to
    slots: tuple[int, int] = (1, 1)
    #: … on the loop of the process for `async def`, and in threads
    async_slots: int = 100
    thread_slots: int = 16
    #: the project's folder: working directory of tasks, first on their sys.path
    root: str = "."
    #: more folders for sys.path, relative to `root`
    python: tuple[str, ...] = ()
    #: how long what runs may go on after the node was told to end, in seconds
    grace: float = 30.0
    log: LogFormat = "text"
    log_level: str = "info"
    #: copies of every stream: 1, or 3 on a cluster
    replicas: int = 1
    #: the server syncs each write to disk (`sync_interval: always`)
    durable: bool = False
    #: of a new environment
    partitions: int = 8
    #: public keys of those whose deployments it accepts; empty: all are
    trusted: tuple[str, ...] = ()
    #: where webhooks are taken: "127.0.0.1:8080"
    http: str = "127.0.0.1:8080"
    #: file of the keys that secrets are sealed with, where the environment names none
    key_file: str = ""

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> NodeConfig:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=cls)
