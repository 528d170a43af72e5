"""What a bundle needs before it can begin: its plans, the code that its tasks are in, secrets and the like.

Most of it is at hand, and then the bundle begins at once. What must be got keeps a slot's place free for the bundle,
for it takes a moment. Only a code may take minutes: whoever waits for one waits beside the slots, which go on with
other work.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

from flowc import plan as plans
from flowc.plan import Plan

from flowrun.deployments.trusted_plans import TrustedPlans, UntrustedPlan
from flowrun.errors import FlowError, StoreError, TransportError
from flowrun.messages import Failure
from flowrun.transport import Transport

from .codes import Code, Codes
from .failures import MAX_MESSAGE, cut
from .frames import Given
from .giver import Giver, Needs
from .leases import Lease
from .pool import Pool

__all__ = ["Provisions", "Supplies"]

#: plans that are kept
PLANS = 1_000
#: bundles of one pool that wait for their codes, and take no slot's place while they do
WAITING = 16


class Supplies(NamedTuple):
    """What a bundle was provided with."""

    #: by digest
    plans: Mapping[str, Plan]
    #: their bytes
    data: Mapping[str, bytes]
    #: None: its tasks are of the worker's own project
    code: Code | None = None
    #: None: it needs nothing of that kind
    given: Given | None = None
    #: the worker ends before all is there: the bundle goes to another one
    back: bool = False


class Provisions:
    """Of one agent. `provide` ends in `begin` or `refuse`, maybe later; in neither if the lease is lost meanwhile.

    `trusted`, `codes`: as `Agent` has them; `finishing` is set when nothing is to begin any more."""

    def __init__(
        self,
        transport: Transport,
        giver: Giver,
        trusted: TrustedPlans | None,
        codes: Codes | None,
        *,
        finishing: asyncio.Event,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        begin: Callable[[Lease, Pool, Supplies], None],
        refuse: Callable[[Lease, Failure], None],
    ) -> None:
        self._transport, self._giver, self._trusted, self._codes = transport, giver, trusted, codes
        self._finishing, self._spawn, self._begin, self._refuse = finishing, spawn, begin, refuse
        self._plans: OrderedDict[str, tuple[Plan, bytes]] = OrderedDict()

    def provide(self, lease: Lease, pool: Pool) -> None:
        """A bundle came."""
        known = {digest: self._plans[digest] for digest in lease.bundle.plans if digest in self._plans}
        if len(known) == len(lease.bundle.plans):
            self._with_plans(lease, pool, known)
        else:
            self._spawn(self._fetch(lease, pool, _Place(pool)))

    # ---- plans

    async def _fetch(self, lease: Lease, pool: Pool, place: _Place) -> None:
        try:
            with place:
                found = await asyncio.gather(*map(self._plan, lease.bundle.plans))
                known = dict(zip(lease.bundle.plans, found, strict=True))
        except UntrustedPlan as error:
            self._refuse(lease, Failure("Untrusted", str(error), retryable=False))
        except StoreError as error:
            self._refuse(lease, Failure("NotFound", f"the plan cannot be had: {error}"))
        except plans.PlanError as error:
            self._refuse(lease, Failure("Incompatible", f"this worker cannot use the plan: {error}"))
        else:
            if not lease.lost:
                self._with_plans(lease, pool, known)

    async def _plan(self, digest: str) -> tuple[Plan, bytes]:
        if digest not in self._plans:
            if self._trusted is not None:
                await self._trusted.check(digest)
            data = await self._transport.get_blob(digest)
            self._plans[digest] = (plans.decode(data), data)
            if len(self._plans) > PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(digest)
        return self._plans[digest]

    # ---- code

    def _with_plans(self, lease: Lease, pool: Pool, known: Mapping[str, tuple[Plan, bytes]]) -> None:
        supplies = Supplies(
            {digest: plan for digest, (plan, _) in known.items()}, {digest: data for digest, (_, data) in known.items()}
        )
        digest = next(iter(supplies.plans.values())).code
        if not digest or self._codes is None:
            self._with_code(lease, pool, supplies)
        elif (code := self._codes.ready(digest)) is not None:
            self._with_code(lease, pool, supplies._replace(code=code))
        else:
            self._spawn(
                self._prepare(lease, pool, supplies, partial(self._codes.get, digest), _Place(pool, beside=WAITING))
            )

    async def _prepare(
        self, lease: Lease, pool: Pool, supplies: Supplies, get: Callable[[], Coroutine[Any, Any, Code]], place: _Place
    ) -> None:
        try:
            with place:
                code = await self._before_the_end(get())
        except TransportError:
            raise
        except FlowError as error:
            self._refuse(lease, Failure("CodeUnusable", cut(str(error), MAX_MESSAGE)))
            return
        if lease.lost:
            return
        if code is None:
            self._begin(lease, pool, supplies._replace(back=True))
        else:
            self._with_code(lease, pool, supplies._replace(code=code))

    async def _before_the_end(self, getting: Coroutine[Any, Any, Code]) -> Code | None:
        """None: the worker ends before it is there."""
        found, finishing = asyncio.create_task(getting), asyncio.create_task(self._finishing.wait())
        try:
            await asyncio.wait([found, finishing], return_when=asyncio.FIRST_COMPLETED)
            return found.result() if found.done() else None
        finally:
            found.cancel()
            finishing.cancel()

    # ---- secrets and the like

    def _with_code(self, lease: Lease, pool: Pool, supplies: Supplies) -> None:
        needs = self._giver.needs(lease.bundle, supplies.plans)
        if needs is None:
            self._begin(lease, pool, supplies)
        else:
            self._spawn(self._give(lease, pool, supplies, needs, _Place(pool)))

    async def _give(self, lease: Lease, pool: Pool, supplies: Supplies, needs: Needs, place: _Place) -> None:
        with place:
            given = await self._giver.get(needs)
        if not lease.lost:
            self._begin(lease, pool, supplies._replace(given=given))


class _Place:
    """A slot's place that is kept from now on until the end of the block; none is if fewer than `beside` wait so."""

    def __init__(self, pool: Pool, beside: int = 0) -> None:
        self._pool, self._waits, self._kept = pool, beside > 0, pool.waiting >= beside
        pool.waiting += self._waits
        pool.reserved += self._kept

    def __enter__(self) -> None:
        """It is kept already."""

    def __exit__(self, *error: object) -> None:
        self._pool.waiting -= self._waits
        self._pool.reserved -= self._kept
        self._pool.has_room()
