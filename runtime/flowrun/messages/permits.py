"""What a holder of permits and the owner of a quota say to each other. All of it goes into inboxes."""

from __future__ import annotations

from typing import Literal

from .wire import Wire

__all__ = ["Ask", "AskHolders", "Grant", "Holder", "Holds", "QuotaDef", "Release", "Terms"]


class Holder(Wire, frozen=True):
    """Who asks for permits: an attempt of a step, an `each` for its items, or a run."""

    run: str
    #: -1: the run itself
    scope: int = -1
    node: int = -1
    #: 0: no attempt, but the run, or all items of an `each`
    attempt: int = 0


class QuotaDef(Wire, frozen=True):
    """What a quota allows, as the plan of the run that asks has it."""

    #: when that run was submitted, milliseconds since 1970: the latest plan counts
    defined_ms: int
    #: slots; of a rate the tokens of a full bucket
    limit: int
    #: tokens per `per_ms`; 0: it is no rate
    rate: int = 0
    per_ms: int = 0


class Terms(Wire, frozen=True):
    """On which terms a holder asks."""

    definition: QuotaDef
    #: slots that one permit takes
    slots: int = 1
    #: 0 to 9, 9 first
    priority: int = 5
    #: among equals, groups are served in turn: the concurrency key, or the run
    group: str = ""
    #: within a group the smaller is served first
    order: int = 0
    #: as ConcurrencyDef has it
    on_conflict: Literal["queue", "cancel_running", "cancel_new", "skip"] = "queue"


class Ask(Wire, frozen=True, tag="ask"):
    """To the owner of a quota: all that a holder wants of it, and has. The counts only ever describe the holder as a
    whole, so that a message that comes twice, or late, says nothing new."""

    quota: str
    holder: Holder
    #: the holder's, where the answer goes
    partition: str
    #: grows with every message of this holder about this quota; a smaller one is outdated
    version: int
    #: permits that it ever asked for, was granted as far as it knows, and gave back
    asked: int
    granted: int
    returned: int
    terms: Terms


class Release(Wire, frozen=True, tag="release"):
    """To the owner of a quota: what a holder has, once it waits for nothing more. As Ask has it."""

    quota: str
    holder: Holder
    version: int
    asked: int
    granted: int
    returned: int


class Grant(Wire, frozen=True, tag="grant"):
    """To a holder's partition: the owner's answer."""

    quota: str
    holder: Holder
    #: permits that it was ever granted
    granted: int
    #: "cancel", "skip": the holder ends so, by the `on_conflict` of the one or the other
    answer: Literal["granted", "cancel", "skip"] = "granted"
    #: the run that took the holder's place; "": none did
    by: str = ""

    @property
    def run(self) -> str:
        return self.holder.run


class AskHolders(Wire, frozen=True, tag="holders"):
    """From an owner: do these still want or hold what I believe? Without any: who does of what I own?"""

    #: the owner
    partition: str
    #: (quota, holder)
    holders: tuple[tuple[str, Holder], ...] = ()


class Holds(Wire, frozen=True, tag="holds"):
    """The answer to AskHolders."""

    #: what they want and hold
    asks: tuple[Ask, ...]
    #: those that want and hold nothing any more …
    gone: tuple[tuple[str, Holder], ...]
    #: … since then: as Ask.version
    version: int
