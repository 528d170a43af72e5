"""What is paused: flows, with all their runs to come, and runs. A part of the state."""

from __future__ import annotations

import msgspec

from flowrun.messages import FlowPause

from .state import ASIDE, EARLY, MISSED, Scope

__all__ = ["BY_FLOW", "BY_HAND", "BY_PAST", "Pauses", "is_held", "is_sla_handler"]

#: why a run is paused (`Run.paused`): somebody paused it; or its flow; or it waits for the window before its own
BY_HAND, BY_FLOW, BY_PAST = 1, 2, 4


def is_held(scope: Scope) -> bool:
    """Nothing new is started in it: its run is paused. What is done because a service level was missed goes on."""
    return bool(scope.run.paused) and not _is_of_sla(scope)


def _is_of_sla(scope: Scope) -> bool:
    while not is_sla_handler(scope):
        if scope.parent < 0:
            return False
        scope = scope.run.scopes[scope.parent]
    return True


def is_sla_handler(scope: Scope) -> bool:
    """The scope is an `on sla_miss`."""
    return scope.kind == EARLY or (scope.kind == ASIDE and (scope.node < 0 or scope.index >= MISSED))


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
