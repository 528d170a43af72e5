"""What happened in a simulation, in order: for those who check, and for those who read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flowrun.memory import Effect
from flowrun.messages import Bundle, MessageError, unpack, unpack_events

__all__ = ["Happening", "History"]


class Happening(NamedTuple):
    """One line of the history."""

    #: seconds since the simulation began
    time: float
    who: str
    what: str
    #: told when somebody asks
    detail: Callable[[], str]

    def __str__(self) -> str:
        return f"{self.time:10.4f}  {self.who:<14} {self.what:<13} {self.detail()}"


class History:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.happenings: list[Happening] = []
        #: lease -> who wrote it last
        self._leaders: dict[str, str] = {}

    def note(self, who: str, what: str, detail: str | Callable[[], str] = "") -> None:
        told = detail if callable(detail) else lambda: detail
        self.happenings.append(Happening(self._clock(), who, what, told))

    def effect(self, effect: Effect) -> None:
        """The server did something. That a leader goes on leading is left out."""
        if effect.what == "write_entry" and effect.where.startswith("lease."):
            if self._leaders.get(effect.where) == effect.who:
                return
            self._leaders[effect.where] = effect.who
        self.note(effect.who, effect.what, lambda: f"{effect.where} {_shown(effect)}")


def _shown(effect: Effect) -> str:
    number = f"#{effect.number} " if effect.number else ""
    match effect.what:
        case "append" | "append_at":
            return number + "; ".join(map(str, unpack_events(effect.data)))
        case "dispatch" | "hand_out" | "ack":
            return number + _bundle(effect.data)
        case "put_result" | "write_entry":
            return f"{number}{len(effect.data)} bytes"
        case _:
            return f"{number}{effect.data!r}" if effect.data else number


def _bundle(data: bytes) -> str:
    try:
        bundle = unpack(data, Bundle)
    except MessageError as error:
        return str(error)
    items = ", ".join(
        item.id + (f"[{item.first}:{item.last}]" if item.first >= 0 else "") + f"+{len(item.then)}" * bool(item.then)
        for item in bundle.items
    )
    return f"{bundle.id}: {items}"
