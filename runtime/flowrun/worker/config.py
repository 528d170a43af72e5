"""What a worker must know. It travels as JSON over the worker's standard input, for a URL may hold a password, and a
command line and an environment are readable by others; executors get their part as a frame, and never see the rest."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["WorkerConfig"]


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process and its executors."""

    #: "nats://127.0.0.1:4222"; several with commas
    url: str
    env: str = "dev"
    #: the workers that it shares work with
    group: str = "nodes"
    queues: tuple[str, ...] = ("default",)
    #: executor processes at most: items of kind process that run at the same time; 0: it takes no such work
    slots: int = 1
    #: … and at least, however little there is to do; None: always all
    least_slots: int | None = None
    #: items of kind async that run at the same time, in one process; 0: it takes no such work
    async_slots: int = 100
    #: the same of kind thread
    thread_slots: int = 16
    #: the project's folder: working directory of tasks, first on their sys.path
    root: str = "."
    #: more folders for sys.path, relative to `root`
    python: tuple[str, ...] = ()
    #: unique among the workers of an environment; with its process id shown in results
    name: str = "worker"
    #: the node that it is a part of; "": it is one by itself
    node: str = ""
    #: a bundle of a worker that is silent for this long goes elsewhere, in seconds
    ack_wait: float = 6.0
    #: the server syncs to disk what it acknowledges
    durable: bool = False
    #: copies of every stream
    replicas: int = 1
    #: told to end warmly, what runs may go on for this long, in seconds
    grace: float = 30.0
    #: public keys of those whose deployments it executes; empty: it executes everything
    trusted: tuple[str, ...] = ()
    #: lines of its log; None: plain messages, for who started it
    log: Literal["text", "json"] | None = None
    log_level: str = "info"
    #: file of the keys that secrets are sealed with, where the environment names none
    key_file: str = ""

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> WorkerConfig:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=cls)
