"""The message server in memory, and an event loop whose clock jumps: the twin that tests and simulation run on.

`MemoryServer` is the server; each `MemoryTransport` is one connection to it. It promises what the real one promises,
and no more: appends are durable and stamped, work is delivered at least once and again after `ack_wait`, keys are
seen once per two minutes, results end after their time, notes reach who listens at that moment.

`run_virtual` runs a coroutine on a `VirtualTimeLoop`: when nothing is ready, the clock jumps to the next timer.
`Faults`, drawn from a seed, makes requests slow and forgetful in the ways real ones may be; connections can be cut and
killed, and the server can crash, come back with less than it had, or lose everything.

`inboxes`, `work`, `stores` and `notes` are what the server holds; `connection` is the way there and back.
"""

from __future__ import annotations

from .faults import Faults
from .server import EPOCH_MS, Effect, MemoryServer
from .transport import MemoryTransport
from .virtual import VirtualTimeLoop, run_virtual

__all__ = ["EPOCH_MS", "Effect", "Faults", "MemoryServer", "MemoryTransport", "VirtualTimeLoop", "run_virtual"]
