"""Brings the holders and the owners of permits together.

After an event has been followed up, `settle` tells the owners what changed in the claims, lets the quotas that this
partition owns serve who waits, and tells the holders. What belongs to the own partition is a call; what belongs to
another one is an event that is sent there. A holder that is granted a permit which it no longer wants gives it back
at once.

Messages are never lost while the stores live, so nothing is asked twice for safety. But stores can be lost, or
restored from a backup: an owner asks the holders of other partitions that it has not heard of for CHECK_MS whether
they are still there, and after a take-over it asks every partition for what it does not know of.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowc.plan import EachNode

from flowrun.messages import Ask, AskHolders, Event, Failure, Grant, Holder, Holds, Release
from flowrun.partitions import owner_of

from . import permits, ranges, runs, tasks
from .commands import Send, SetTimer
from .core import CANCEL, Core
from .state import CANCELLED, Scope, entered

__all__ = ["CHECK_MS", "hear", "settle", "timer", "timers", "took_over"]

#: a holder of another partition that was silent for so long is asked whether it is still there, milliseconds
CHECK_MS = 30_000
#: the timer for that; other timers have the name of a quota, which has a "/"
_CHECK = "check"
#: holders in one message
_LUMP = 500


def hear(core: Core, event: Ask | Release | Grant | AskHolders | Holds) -> None:
    """A message about permits from another partition (or, after a replay, once more from this one)."""
    match event:
        case Ask():
            _ask(core, event)
        case Release():
            core.quotas.release(event, core.now)
        case Grant():
            _take(core, event)
        case AskHolders():
            _answer(core, event)
        case Holds():
            for ask in event.asks:
                _ask(core, ask)
            for quota, holder in event.gone:
                core.quotas.gone(quota, holder, event.version)


def settle(core: Core) -> bool:
    """Tells everybody concerned what changed, up to the first holder of this partition that goes on, which is followed
    up before the next one is told. False: nothing had changed."""
    if not core.claims.is_changed and not core.quotas.open and not core.quotas.answers:
        return False
    for message in core.claims.changed(core.partition, core.now):
        owner = _owner(core, message.quota)
        if owner != core.partition:
            _send(core, owner, message)
        elif isinstance(message, Ask):
            core.quotas.ask(message, core.now)
        else:
            core.quotas.release(message, core.now)
    for name in core.quotas.serve(core.now):
        _wake(core, name)
    while core.quotas.answers:
        partition, grant = core.quotas.answers.popleft()
        if partition == core.partition:
            _take(core, grant)
            break
        _send(core, partition, grant)
    return True


def _owner(core: Core, quota: str) -> str:
    """A single partition owns everything, whatever it is called."""
    return owner_of(quota, core.partitions) if core.partitions > 1 else core.partition


def _send(core: Core, partition: str, event: Event) -> None:
    id = f"permits/{core.partition}/{core.claims.next_version(core.now)}"
    core.commands.append(Send(partition, event, id))


# ---- the holder's side ----------------------------------------------------------------------------------------------


def _take(core: Core, grant: Grant) -> None:
    """The owner's answer."""
    holder = grant.holder
    core.deciding = holder.run
    claim = core.claims.find(holder, grant.quota)
    if claim is None:
        core.ignore(f"grant of {grant.quota} to {holder.run}/{holder.scope}/{holder.node}, which no longer wants it")
        if grant.granted:
            core.claims.refuse(holder, grant.quota, grant.granted)
    elif grant.answer != "granted":
        _conflict(core, grant)
    elif grant.granted > claim.granted:
        claim.granted = grant.granted
        if claim.terms.definition.rate and holder.attempt:
            core.claims.give_back(claim, claim.held)
        _go_on(core, holder)


def _go_on(core: Core, holder: Holder) -> None:
    """A holder has one permit more, or its items have some."""
    run = core.find(holder.run)
    scope = run.scopes.get(holder.scope) if run else None
    if run is not None and holder.scope < 0:
        runs.permitted(core, run)
    elif scope is not None and isinstance(scope.graph.nodes[holder.node], EachNode):
        ranges.pump(core, scope, holder.node)
    elif scope is not None:
        tasks.permitted(core, scope, holder.node)


def _conflict(core: Core, grant: Grant) -> None:
    """The holder ends, because of others with the same concurrency key."""
    holder, skips = grant.holder, grant.answer == "skip"
    what = "run" if holder.scope < 0 else "step"
    message = f"{'skipped' if skips else 'cancelled'}: another {what} with the same concurrency key took its place"
    failure = Failure(type="Conflict", message=message, retryable=False)
    if permits.is_debounce(grant.quota):
        failure = Failure(type="Replaced", message=f"replaced by run {grant.by}", retryable=False)
    run = core.find(holder.run)
    if run is None:
        return
    if holder.scope < 0:
        runs.cancel(core, run, failure)
    else:
        _end_step(core, run.scopes[holder.scope], holder.node, failure, skips)


def _end_step(core: Core, scope: Scope, node: int, failure: Failure, skips: bool) -> None:
    scope.errors = entered(scope.errors, node, failure)
    if skips:
        tasks.skip(core, scope, node)
    else:
        core.agenda.append((CANCEL, scope, node, CANCELLED))


def _answer(core: Core, event: AskHolders) -> None:
    """An owner asks who still wants or holds what it owns."""
    claims = core.claims
    wanted: Iterable[tuple[str, Holder]] = event.holders or [
        (claim.quota, claim.holder) for claim in claims if _owner(core, claim.quota) == event.partition
    ]
    asks: list[Ask] = []
    gone: list[tuple[str, Holder]] = []
    for quota, holder in wanted:
        claim = claims.find(holder, quota)
        if claim is None:
            gone.append((quota, holder))
        else:
            asks.append(claims.ask(claim, core.partition, core.now))
    version = claims.next_version(core.now)
    for first in range(0, max(len(asks), len(gone)), _LUMP):
        part = slice(first, first + _LUMP)
        _send(core, event.partition, Holds(tuple(asks[part]), tuple(gone[part]), version))


# ---- the owner's side -----------------------------------------------------------------------------------------------


def _ask(core: Core, ask: Ask) -> None:
    """Who is not known and says that it has something may have come late, or be unknown because a store was lost: it
    counts as a holder, and is asked at once."""
    is_doubtful = ask.granted > ask.returned and not core.quotas.knows(ask.quota, ask.holder)
    core.quotas.ask(ask, core.now)
    if ask.partition == core.partition:
        return
    if is_doubtful:
        _send(core, ask.partition, AskHolders(core.partition, ((ask.quota, ask.holder),)))
    if _CHECK not in core.quotas.timers:
        _set(core, _CHECK, core.now + CHECK_MS)


def _wake(core: Core, name: str) -> None:
    """Sees to it that a rate wakes when there are tokens for those who wait."""
    at, known = core.quotas.wakes_at(name), core.quotas.timers.get(name)
    if at is not None and (known is None or at < known):
        _set(core, name, at)


def _set(core: Core, name: str, at_ms: int) -> None:
    core.quotas.timers[name] = at_ms
    core.commands.append(SetTimer("", name, at_ms))


def timer(core: Core, name: str) -> None:
    """A timer that belongs to no run."""
    at = core.quotas.timers.get(name)
    if at is None:
        core.ignore(f"timer {name}, which was not set")
    elif at > core.now:
        core.commands.append(SetTimer("", name, at))
    else:
        del core.quotas.timers[name]
        if name == _CHECK:
            _check(core)
        else:
            core.quotas.open[name] = None


def timers(core: Core) -> Iterable[SetTimer]:
    """The timers that belong to no run."""
    return [SetTimer("", name, at) for name, at in core.quotas.timers.items()]


def _check(core: Core) -> None:
    """Asks after the holders of other partitions that were not heard of for a while."""
    silent: dict[str, list[tuple[str, Holder]]] = {}
    is_any = False
    for quota, entry in core.quotas.entries():
        if entry.partition != core.partition:
            is_any = True
            if entry.heard_ms <= core.now - CHECK_MS:
                silent.setdefault(entry.partition, []).append((quota.name, entry.holder))
    for partition, holders in silent.items():
        for first in range(0, len(holders), _LUMP):
            _send(core, partition, AskHolders(core.partition, tuple(holders[first : first + _LUMP])))
    if is_any:
        _set(core, _CHECK, core.now + CHECK_MS)


def took_over(core: Core) -> None:
    """A new leader: if its store was lost or is older, others may hold what it does not know of."""
    for number in range(core.partitions if core.partitions > 1 else 0):
        if str(number) != core.partition:
            _send(core, str(number), AskHolders(core.partition))
