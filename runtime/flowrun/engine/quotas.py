"""The owner's side of permits: what each quota allows, who has how much of it, and who is served next.

A quota is a number of slots (a pool; the runs of a flow; the steps of one concurrency key) or a rate (a bucket of
tokens that fills with time). A holder takes `Terms.slots` of them per permit; one that wants more slots than there are
counts as all of them, so it runs alone. Slots are taken until the holder gives them back, tokens are gone with the
grant.

Who waits stands in a *line* of its priority and its group (a concurrency key, or a run). The line that has waited
longest since it was last served is served next, one permit at a time, and a level of priority counts as AGING_MS of
waiting. That one rule is priority (a higher one is ahead), aging (one who waits overtakes a higher priority after
AGING_MS per level, so nobody starves) and fairness (of equal lines, each is served in turn). Within a line the order
is `Terms.order`, then that of asking. Whoever is next and needs more slots than are free holds up those behind it, so
that it is not passed over for ever.

A holder is known by three counts that only the holder itself changes, `asked`, `returned` and the `version` of what
it said last, and one that only the owner changes, `granted`. Whatever comes twice, or late, finds them as they are.
Every definition travels with the ask, and that of the latest plan holds; unless one is deployed: then that one does,
whatever plans say. A smaller one takes nothing away from who holds something: it has its effect as they give back.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

from flowrun.messages import Ask, Grant, Holder, QuotaDef, Release, Terms

__all__ = ["AGING_MS", "Entry", "Quota", "Quotas"]

#: how much waiting a level of priority is worth, milliseconds
AGING_MS = 30_000
#: tokens are handed out at most as often as this, milliseconds
_PACE_MS = 50
_REFUSED: dict[str, Literal["cancel", "skip"]] = {"cancel_new": "cancel", "skip": "skip"}


class Entry(msgspec.Struct):
    """A holder at a quota."""

    holder: Holder
    #: of the holder
    partition: str
    version: int
    #: permits that it ever asked for, was granted, and gave back
    asked: int
    granted: int
    returned: int
    terms: Terms
    #: its place among all who ask this owner, since it waits
    place: int = 0
    #: another one took its place (`on_conflict: "cancel_running"`): it was told to end
    evicted: bool = False
    #: when it said something last, milliseconds since 1970
    heard_ms: int = 0
    #: the run that took its place
    by: str = ""

    @property
    def waiting(self) -> int:
        return 0 if self.evicted else max(0, self.asked - self.granted)

    @property
    def held(self) -> int:
        return max(0, self.granted - self.returned)


class _Line(msgspec.Struct):
    """Those who wait with the same priority and group."""

    priority: int
    group: str
    #: when it was last served, or came, less AGING_MS per level of priority; then a count. The smallest is next
    rank: int = 0
    tick: int = 0
    #: (order, place, holder)
    queue: list[tuple[int, int, Holder]] = []


class Quota(msgspec.Struct):
    """One quota. `lines` are in a heap, by rank and tick."""

    name: str
    definition: QuotaDef
    entries: dict[Holder, Entry] = {}
    lines: dict[tuple[int, str], _Line] = {}
    order: list[tuple[int, int, tuple[int, str]]] = []
    #: slots that are taken
    taken: int = 0
    #: of a rate: tokens times `per_ms`, and when it was so
    level: int = 0
    filled_ms: int = 0

    def weight(self, terms: Terms) -> int:
        """What one permit takes."""
        return 1 if self.definition.rate else min(terms.slots, self.definition.limit)

    def free(self) -> int:
        """Slots, or tokens."""
        if self.definition.rate:
            return self.level // self.definition.per_ms
        return max(0, self.definition.limit - self.taken)

    def define(self, definition: QuotaDef, now: int) -> None:
        """The latest plan that asks says what there is."""
        if msgspec.structs.astuple(definition) > msgspec.structs.astuple(self.definition):
            self.redefine(definition, now)

    def redefine(self, definition: QuotaDef, now: int) -> None:
        """There is so much from now on."""
        old = self.definition
        if definition == old:
            return
        self.fill(now)
        self.definition = definition
        if definition.rate:
            level = self.level * definition.per_ms // old.per_ms if old.per_ms else definition.limit * definition.per_ms
            self.level = min(level, definition.limit * definition.per_ms)
        self.count()

    def count(self) -> None:
        """Counts anew what is taken."""
        rated = self.definition.rate > 0
        self.taken = 0 if rated else sum(entry.held * self.weight(entry.terms) for entry in self.entries.values())

    def fill(self, now: int) -> None:
        """Tokens come with time."""
        if self.definition.rate:
            full = self.definition.limit * self.definition.per_ms
            self.level = min(full, self.level + self.definition.rate * max(0, now - self.filled_ms))
        self.filled_ms = max(now, self.filled_ms)

    def wakes_at(self) -> int | None:
        """When tokens are there for those who wait, milliseconds since 1970; None if nobody waits for tokens."""
        rate, per_ms = self.definition.rate, self.definition.per_ms
        if not rate or not self.order:
            return None
        one = -(-(per_ms - self.level) // rate)
        full = -(-(self.definition.limit * per_ms - self.level) // rate)
        return self.filled_ms + max(one, min(full, _PACE_MS), 1)


def _age(one: Entry | Ask) -> tuple[int, str]:
    """Of a run: the later it was submitted, the larger."""
    return one.terms.order, one.holder.run


class Quotas:
    """All quotas that a partition owns, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Quota] = {}
        #: quotas that may have something to give: served before the event is over
        self.open: dict[str, None] = {}
        #: answers to what was heard, with the partition of who is told
        self.answers: deque[tuple[str, Grant]] = deque()
        #: what wakes the owner, and when, milliseconds since 1970: a rate by its name, or CHECK
        self.timers: dict[str, int] = {}
        self._count = 0
        #: project -> what it has deployed, by quota
        self._deployed: dict[str, dict[str, QuotaDef]] = {}

    # ---- what is deployed -------------------------------------------------------------------------------------------

    def deploy(self, project: str, definitions: dict[str, QuotaDef], now: int) -> None:
        """A project has deployed these quotas, and no others any more."""
        before = self._deployed.pop(project, {})
        if definitions:
            self._deployed[project] = definitions
        for name in sorted({*before, *definitions}):
            quota, definition = self.by_name.get(name), self.deployed(name)
            if quota is not None and definition is not None:
                quota.redefine(definition, now)
                self.open[name] = None

    def deployed(self, quota: str) -> QuotaDef | None:
        """What the newest deployment says that has it; None: none has."""
        found = [definitions[quota] for definitions in self._deployed.values() if quota in definitions]
        return max(found, key=lambda one: one.defined_ms, default=None)

    # ---- what holders say -------------------------------------------------------------------------------------------

    def knows(self, quota: str, holder: Holder) -> bool:
        """The holder wants or has something, as far as is known."""
        return quota in self.by_name and holder in self.by_name[quota].entries

    def ask(self, ask: Ask, now: int) -> None:
        """A holder says what it wants and has."""
        deployed = self.deployed(ask.quota) if self._deployed else None
        definition = deployed or ask.terms.definition
        quota = self.by_name.get(ask.quota)
        if quota is None:
            quota = self.by_name[ask.quota] = Quota(ask.quota, definition, filled_ms=now)
            quota.level = definition.limit * definition.per_ms
        if deployed is None:
            quota.define(definition, now)
        else:
            quota.redefine(definition, now)
        self.open[ask.quota] = None
        entry = quota.entries.get(ask.holder)
        if entry is None:
            is_new = ask.granted <= ask.returned
            if ask.asked <= ask.returned or (is_new and self._conflict(quota, ask)):
                return
            entry = Entry(ask.holder, ask.partition, -1, 0, 0, 0, ask.terms)
            quota.entries[ask.holder] = entry
        elif ask.version < entry.version:
            return
        entry.partition, entry.heard_ms = ask.partition, now
        was_waiting, before = entry.waiting, entry.held * quota.weight(entry.terms)
        entry.terms = ask.terms
        self._update(quota, entry, before, ask)
        if entry.evicted:
            self._answer(quota, entry, "cancel")
        elif ask.granted < entry.granted:
            self._answer(quota, entry)
        if entry.waiting and not was_waiting:
            self._line_up(quota, entry, now)

    def release(self, release: Release, now: int) -> None:
        """A holder says what it has, and that it waits for nothing. From one that is not known: nothing."""
        quota = self.by_name.get(release.quota)
        entry = quota.entries.get(release.holder) if quota else None
        if quota is None or entry is None or release.version < entry.version:
            return
        entry.heard_ms = now
        self._update(quota, entry, entry.held * quota.weight(entry.terms), release)
        self.open[release.quota] = None

    def gone(self, name: str, holder: Holder, version: int) -> None:
        """The holder neither wants nor has anything, nor did it at that version."""
        quota = self.by_name.get(name)
        entry = quota.entries.get(holder) if quota else None
        if quota is not None and entry is not None and entry.version <= version:
            self._drop(quota, entry)
            self.open[name] = None

    def _update(self, quota: Quota, entry: Entry, before: int, told: Ask | Release) -> None:
        entry.version, entry.asked, entry.returned = told.version, told.asked, told.returned
        entry.granted = max(entry.granted, told.granted)  # smaller only where a store was lost, or the entry is new
        if not quota.definition.rate:
            quota.taken += entry.held * quota.weight(entry.terms) - before
        if entry.asked <= entry.granted <= entry.returned:
            del quota.entries[entry.holder]

    def _drop(self, quota: Quota, entry: Entry) -> None:
        del quota.entries[entry.holder]
        if not quota.definition.rate:
            quota.taken -= entry.held * quota.weight(entry.terms)

    def _line_up(self, quota: Quota, entry: Entry, now: int) -> None:
        key = (entry.terms.priority, entry.terms.group)
        line = quota.lines.get(key)
        if line is None:
            line = quota.lines[key] = _Line(*key)
            self._rank(quota, line, now)
        self._count += 1
        entry.place = self._count  # what stands in a line from an earlier time counts no more
        heapq.heappush(line.queue, (entry.terms.order, entry.place, entry.holder))

    def _rank(self, quota: Quota, line: _Line, now: int) -> None:
        """The line stands behind all others of its priority from now on."""
        self._count += 1
        line.rank, line.tick = now - line.priority * AGING_MS, self._count
        heapq.heappush(quota.order, (line.rank, line.tick, (line.priority, line.group)))

    # ---- conflicts --------------------------------------------------------------------------------------------------

    def _conflict(self, quota: Quota, ask: Ask) -> bool:
        """What `on_conflict` says of a new holder when the limit is reached. True: it is refused."""
        how = ask.terms.on_conflict
        if how == "queue":
            return False
        there = [entry for entry in quota.entries.values() if not entry.evicted and (entry.held or entry.waiting)]
        excess = len(there) + 1 - quota.definition.limit
        if excess <= 0:
            return False
        refusal = _REFUSED.get(how)
        if refusal is not None:
            self.answers.append((ask.partition, Grant(ask.quota, ask.holder, ask.granted, refusal)))
            return True
        if ask.holder.scope < 0:
            # the newest runs stay, in whichever order they ask; an ask that comes again late is of none of them
            newer = [entry for entry in there if _age(entry) > _age(ask)]
            if len(newer) >= quota.definition.limit:
                by = max(newer, key=_age).holder.run
                self.answers.append((ask.partition, Grant(ask.quota, ask.holder, ask.granted, "cancel", by)))
                return True
            there.sort(key=_age)
        else:
            there.sort(key=lambda entry: entry.place)
        for entry in there[:excess]:
            entry.evicted, entry.by = True, ask.holder.run
            self._answer(quota, entry, "cancel")
        return False

    def _answer(self, quota: Quota, entry: Entry, answer: Literal["granted", "cancel"] = "granted") -> None:
        self.answers.append((entry.partition, Grant(quota.name, entry.holder, entry.granted, answer, entry.by)))

    # ---- serving ----------------------------------------------------------------------------------------------------

    def serve(self, now: int) -> list[str]:
        """Grants what the open quotas have to give; the answers say to whom. Gives the quotas that it looked at."""
        served, self.open = list(self.open), {}
        for name in served:
            quota = self.by_name.get(name)
            if quota is not None:
                self._serve(quota, now)
        return served

    def wakes_at(self, name: str) -> int | None:
        """When a rate has tokens for those who wait, milliseconds since 1970; None if nobody waits for tokens."""
        quota = self.by_name.get(name)
        return None if quota is None else quota.wakes_at()

    def _serve(self, quota: Quota, now: int) -> None:
        quota.fill(now)
        granted: dict[Holder, Entry] = {}
        while (found := self._next(quota)) is not None:
            line, entry = found
            weight = quota.weight(entry.terms)
            fits = quota.free() // weight
            if not fits:
                break
            count = min(entry.waiting, fits) if len(quota.order) == 1 else 1
            entry.granted += count
            granted[entry.holder] = entry
            if quota.definition.rate:
                quota.level -= count * quota.definition.per_ms
            else:
                quota.taken += count * weight
            heapq.heappop(quota.order)
            self._rank(quota, line, now)
        for entry in granted.values():
            self._answer(quota, entry)
        if not quota.entries and not quota.definition.rate:
            del self.by_name[quota.name]

    def _next(self, quota: Quota) -> tuple[_Line, Entry] | None:
        """Who is served next; lines and entries that wait no more are dropped on the way."""
        while quota.order:
            key = quota.order[0][2]
            line = quota.lines[key]
            while line.queue:
                _, place, holder = line.queue[0]
                entry = quota.entries.get(holder)
                if entry is not None and entry.place == place and entry.waiting:
                    return line, entry
                heapq.heappop(line.queue)
            heapq.heappop(quota.order)
            del quota.lines[key]
        return None

    # ---- looking ----------------------------------------------------------------------------------------------------

    def taken(self, name: str) -> int:
        """Slots of a quota that are held."""
        quota = self.by_name.get(name)
        return quota.taken if quota is not None else 0

    def entries(self) -> Iterator[tuple[Quota, Entry]]:
        for quota in self.by_name.values():
            for entry in quota.entries.values():
                yield quota, entry

    # ---- snapshots --------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Nothing is open between two events, and no answer is due."""
        quotas = [
            _Packed(
                quota.name, quota.definition, list(quota.entries.values()), list(quota.lines.values()), quota.level,
                quota.filled_ms,
            )
            for quota in self.by_name.values()
        ]  # fmt: skip
        return msgspec.msgpack.encode((self._count, self.timers, quotas, self._deployed))

    def restore(self, data: bytes) -> None:
        self._count, self.timers, packed, self._deployed = _decoder.decode(data)
        self.by_name.clear()
        for one in packed:
            quota = Quota(one.name, one.definition, level=one.level, filled_ms=one.filled_ms)
            quota.entries = {entry.holder: entry for entry in one.entries}
            quota.lines = {(line.priority, line.group): line for line in one.lines}
            quota.order = sorted((line.rank, line.tick, key) for key, line in quota.lines.items())
            quota.count()
            self.by_name[one.name] = quota


class _Packed(msgspec.Struct, array_like=True):
    """A quota, as a snapshot has it."""

    name: str
    definition: QuotaDef
    entries: list[Entry]
    lines: list[_Line]
    level: int
    filled_ms: int


_decoder = msgspec.msgpack.Decoder(tuple[int, dict[str, int], list[_Packed], dict[str, dict[str, QuotaDef]]])
