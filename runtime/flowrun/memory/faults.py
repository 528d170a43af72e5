"""What goes wrong between a connection and the server, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

__all__ = ["Faults"]


@dataclass(kw_only=True)
class Faults:
    """All chances are between 0 and 1, times in seconds."""

    seed: int = 0
    #: requests, answers and notes take up to this long each, so that they overtake each other
    delay: float = 0.0
    #: a request fails before the server does anything
    fail: float = 0.0
    #: a request about a blob does
    fail_blob: float = 0.0
    #: the server refuses to store something: its disk is full, say
    refuse: float = 0.0
    #: the server does what is asked for, and its answer is lost: it comes to a repetition of the request, …
    lose_answer: float = 0.0
    #: … or, of these, never: whoever asked gets a TransportError for what was done
    give_up: float = 0.2
    #: a message of an inbox is stored twice: its repetition came when its key was no longer known
    duplicate: float = 0.0
    #: then the second comes up to this much later
    duplicate_after: float = 10.0
    #: a bundle's acknowledgement never arrives: it is delivered again
    lose_ack: float = 0.0
    #: a live note reaches nobody
    lose_note: float = 0.0
    #: delayed events come up to this much late
    lateness: float = 0.0
    random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def strikes(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def wait(self, most: float) -> float:
        """A time up to `most`."""
        return self.random.random() * most if most > 0 else 0.0

    @property
    def quiet(self) -> bool:
        """Requests are answered at once, all of them."""
        return not (self.delay or self.fail or self.fail_blob or self.refuse or self.lose_answer)
