"""What was recorded of a chaos run: all that the checker looks at. Times are milliseconds since 1970, of one machine.

A history is written to a file, so that it can be checked again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

__all__ = ["Death", "Effect", "End", "History", "Live", "Message", "Submission", "Trouble", "read_history",
           "write_history"]  # fmt: skip


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What a client submitted, and what must come of it."""

    run: str
    #: of the load's kinds of work
    kind: str
    #: when it was submitted, and when the server had it; 0: the client was never told so
    at_ms: float
    accepted_ms: float
    #: how it must end; "" : any way (it was cancelled while it might have ended)
    state: str
    #: of a success: the values that it may have (several, if the same key was submitted with several arguments)
    values: tuple[Any, ...] = ()
    #: of a failure: the step by which it must fail
    failed_step: str = ""
    #: steps that must have had their effect by the end: (step, index)
    effects: tuple[tuple[str, int | None], ...] = ()
    #: the number of a random program: its end is compared with what an interpreter says; -1: it is none
    program: int = -1
    #: nothing of it may begin before; 0: at once
    not_before_ms: float = 0
    #: when the client was told that its cancellation cannot be lost; 0: it asked for none
    cancelled_ms: float = 0
    #: tasks that it takes
    tasks: int = 1


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    run: str
    #: when the client was told; 0: it was not
    at_ms: float
    #: the record that it was told, packed
    told: bytes
    #: the record that the server has, as it is stored; b"": none
    stored: bytes
    #: what its result says, as plain data
    value: Any = None


class Message(msgspec.Struct, frozen=True, array_like=True):
    """Of an inbox."""

    partition: str
    seq: int
    #: the server's stamp
    time_ms: int
    data: bytes


class Effect(msgspec.Struct, frozen=True):
    """A line of the journal that tasks write."""

    what: Literal["begin", "done", "failed"]
    run: str
    step: str
    index: int | tuple[int, ...] | None
    attempt: int
    #: of the attempt: run/scope/node/attempt, and the item of a range
    id: str
    #: the pool or key that limits it; "": none
    gate: str
    #: the executor, its worker, its node
    pid: int
    ppid: int
    node: str
    at_ms: float

    @property
    def unit(self) -> tuple[str, int, int, int]:
        """What is done, whatever the attempt: run, scope, node, item (-1: of no range)."""
        run, scope, node, _, *item = self.id.split("/")
        return run, int(scope), int(node), int(item[0]) if item else -1


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One disturbance."""

    #: "kill worker", "pause leader", "cut", …
    kind: str
    #: the node or server that it hit
    target: str
    #: the process that was hit; 0: none
    pid: int = 0
    begin_ms: float
    #: when it was healed as far as this test heals it: a paused process goes on, a server answers again
    end_ms: float
    #: partitions that were led there
    partitions: tuple[str, ...] = ()

    @property
    def is_kill(self) -> bool:
        return self.kind.startswith("kill")


class Live(msgspec.Struct, frozen=True):
    """A leader was ready."""

    partition: str
    node: str
    at_ms: float


class Death(msgspec.Struct, frozen=True):
    """A process of a node ended between these times."""

    pid: int
    node: str
    seen_ms: float
    gone_ms: float


class History(msgspec.Struct, kw_only=True):
    """All of it."""

    seed: int
    scenario: str
    #: of the run's seconds those with troubles
    seconds: float
    partitions: int
    nodes: int
    #: load of the machine (over a minute) at the beginning and at the end
    loads: tuple[float, float] = (0.0, 0.0)
    submissions: list[Submission] = []
    ends: list[End] = []
    #: of each inbox in order, from its first message
    messages: list[Message] = []
    effects: list[Effect] = []
    troubles: list[Trouble] = []
    lives: list[Live] = []
    deaths: list[Death] = []
    #: content hash -> plan
    plans: dict[str, bytes] = {}
    #: gate -> how many may hold it
    gates: dict[str, int] = {}
    #: what could not be done or recorded: each is a violation
    problems: list[str] = []


def write_history(path: Path, history: History) -> None:
    path.write_bytes(msgspec.msgpack.encode(history))


def read_history(path: Path) -> History:
    return msgspec.msgpack.decode(path.read_bytes(), type=History)
