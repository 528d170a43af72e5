"""What is paused: flows, with all their runs to come, and runs. A part of the state."""

from __future__ import annotations

import msgspec

from flowrun.messages import FlowPause

__all__ = ["BY_FLOW", "BY_HAND", "Pauses"]

#: why a run is paused (`Run.paused`): somebody paused it; or its flow
BY_HAND, BY_FLOW = 1, 2


class _Packed(msgspec.Struct, array_like=True):
    flows: list[FlowPause]
    runs: list[str]


_decoder = msgspec.msgpack.Decoder(_Packed)


class Pauses:
    """Of a partition."""

    def __init__(self) -> None:
        self.flows: dict[str, FlowPause] = {}
        #: runs that live and are paused, for either reason
        self.runs: set[str] = set()

    def pack(self) -> bytes:
        return msgspec.msgpack.encode(_Packed([*self.flows.values()], sorted(self.runs)))

    def restore(self, data: bytes) -> None:
        packed = _decoder.decode(data)
        self.flows = {pause.flow: pause for pause in packed.flows}
        self.runs.clear()  # the shell looks at it, too
        self.runs.update(packed.runs)
