"""The holder's side of permits: what runs, steps and items of a partition want of each quota, and what they have.

A claim counts the permits that a holder ever asked for, was granted and gave back. What changed in it during an event
is told to the quota's owner once, when the event has been followed up: so the ends of a thousand items are one
message. A claim is closed when its holder has ended: it gives back what it has and wants nothing, which is the last
that is told of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from flowrun.messages import Ask, Holder, Release, Terms

__all__ = ["Claim", "Claims"]

#: messages of a partition within the same millisecond that can be told apart
_PER_MS = 1 << 20


class Claim(msgspec.Struct):
    """What a holder wants of a quota, and has."""

    quota: str
    holder: Holder
    terms: Terms
    #: permits that it ever asked for, was granted, and gave back
    asked: int = 0
    granted: int = 0
    returned: int = 0
    #: its owner knows of it
    told: bool = False

    @property
    def held(self) -> int:
        return self.granted - self.returned

    @property
    def waiting(self) -> int:
        return self.asked - self.granted


class Claims:
    """All claims of a partition, by run."""

    def __init__(self) -> None:
        self._by_run: dict[str, dict[tuple[Holder, str], Claim]] = {}
        #: what the owners must be told
        self._changed: dict[tuple[Holder, str], Claim] = {}
        #: the version of what was told last: grows, also over the loss of a store, for it follows the clock
        self._version = 0

    @property
    def is_changed(self) -> bool:
        return bool(self._changed)

    def find(self, holder: Holder, quota: str) -> Claim | None:
        return self._by_run.get(holder.run, {}).get((holder, quota))

    def open(self, holder: Holder, quota: str, terms: Terms) -> Claim:
        """The claim, a new one if there is none."""
        of_run = self._by_run.setdefault(holder.run, {})
        claim = of_run.get((holder, quota))
        if claim is None:
            claim = of_run[holder, quota] = Claim(quota, holder, terms)
        return claim

    def want(self, claim: Claim, count: int) -> None:
        """It waits for so many more than it has, no more and no fewer."""
        if claim.waiting != count:
            claim.asked = claim.granted + count
            self._changed[claim.holder, claim.quota] = claim

    def give_back(self, claim: Claim, count: int) -> None:
        if count:
            claim.returned += count
            self._changed[claim.holder, claim.quota] = claim

    def close(self, holder: Holder, quota: str) -> None:
        """Its holder is done with it."""
        of_run = self._by_run.get(holder.run, {})
        claim = of_run.pop((holder, quota), None)
        if claim is not None:
            claim.asked = claim.returned = claim.granted
            self._changed[holder, quota] = claim
            if not of_run:
                del self._by_run[holder.run]

    def close_run(self, run: str) -> None:
        """Nothing of the run is left."""
        if run not in self._by_run:
            return
        for holder, quota in list(self._by_run.get(run, ())):
            self.close(holder, quota)

    def refuse(self, holder: Holder, quota: str, granted: int) -> None:
        """Nobody wants what was granted: gives it back."""
        terms = _NO_TERMS
        self._changed[holder, quota] = Claim(quota, holder, terms, granted, granted, granted, told=True)

    def changed(self, partition: str, now: int) -> list[Ask | Release]:
        """What the owners must be told, once."""
        if not self._changed:
            return []
        found = [self._message(claim, partition, now) for claim in self._changed.values() if claim.told or claim.asked]
        self._changed.clear()
        return found

    def _message(self, claim: Claim, partition: str, now: int) -> Ask | Release:
        if claim.waiting > 0:
            return self.ask(claim, partition, now)
        version = self.next_version(now)
        return Release(claim.quota, claim.holder, version, claim.asked, claim.granted, claim.returned)

    def ask(self, claim: Claim, partition: str, now: int) -> Ask:
        """All that there is to tell of a claim."""
        claim.told = True
        version = self.next_version(now)
        return Ask(
            claim.quota, claim.holder, partition, version, claim.asked, claim.granted, claim.returned, claim.terms
        )

    def next_version(self, now: int) -> int:
        self._version = max(self._version + 1, now * _PER_MS)
        return self._version

    def __iter__(self) -> Iterator[Claim]:
        for of_run in self._by_run.values():
            yield from of_run.values()

    # ---- snapshots --------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        return msgspec.msgpack.encode((self._version, list(self)))

    def restore(self, data: bytes) -> None:
        self._version, claims = _decoder.decode(data)
        self._by_run.clear()
        for claim in claims:
            self._by_run.setdefault(claim.holder.run, {})[claim.holder, claim.quota] = claim


_NO_TERMS = msgspec.convert(((0, 0),), Terms)
_decoder = msgspec.msgpack.Decoder(tuple[int, list[Claim]])
