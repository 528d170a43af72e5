"""What a worker must know. It travels as JSON over the worker's standard input, for a URL may hold a password, and a
command line and an environment are readable by others; executors get their part as a frame, and never see the rest."""

from __future__ import annotations

import msgspec

__all__ = ["WorkerConfig"]


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process and its executors."""

    #: "nats://127.0.0.1:4222"
    url: str
    env: str = "dev"
    #: the workers that it shares work with
    group: str = "nodes"
    queues: tuple[str, ...] = ("default",)
    #: executor processes: items that run at the same time
    slots: int = 1
    #: the project's folder: working directory of tasks, first on their sys.path
    root: str = "."
    #: more folders for sys.path, relative to `root`
    python: tuple[str, ...] = ()
    #: unique among the workers of an environment; shown in results
    name: str = "worker"
    #: a bundle of a worker that is silent for this long goes elsewhere, in seconds
    ack_wait: float = 10.0

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> WorkerConfig:
        """Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=cls)
