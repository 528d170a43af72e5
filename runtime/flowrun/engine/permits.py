"""Which quotas a step, the items of an `each` or a run need, and how they come by them.

Permits are taken one quota after the other in the order of their names, each kept while the next is waited for; so
two holders never wait for each other. The names begin with the kind, and the kinds are in this order on purpose: a
rate's tokens are gone once they are granted, so they come last, when nothing else holds the step back.

    debounce/FLOW[/KEY]    runs of a flow that were just submitted, with the same key: the newest
    flow/FLOW[/KEY]        runs of a flow with the same concurrency key
    key/step/…[/KEY]       steps, or calls of a task, with the same concurrency key
    pool/NAME              slots of a pool
    rate/NAME              starts of a rate
    runs/FLOW              runs of a flow (`max_active_runs`)

A holder is an attempt: the next attempt asks anew, and while a retry waits nothing is held. The items of a simple
`each` are one holder, which asks for many permits and gets them as they come.
"""

from __future__ import annotations

import hashlib

import msgspec
from flowc.plan import ConcurrencyDef, LimitDef, Plan, PoolDef, StepSettings

from flowrun.messages import Holder, QuotaDef, Terms

from .core import Core
from .evaluate import compute_key, kinds_of
from .state import Attempt, Run, Scope

__all__ = [
    "Need", "ask", "ask_run", "close_debounce", "close_items", "close_run", "for_items", "give_back_items",
    "is_debounce", "is_limited", "is_limited_flow", "release",
    "run_needs", "step_needs",
]  # fmt: skip

#: longer keys are told apart by their hash
_KEY_BYTES = 80
#: of a run that says none
_PRIORITY = 5
_DEBOUNCE = "debounce/"
#: (name of a quota, the terms)
Need = tuple[str, Terms]


def is_limited(settings: StepSettings) -> bool:
    """Steps with these settings need permits."""
    return settings.pool is not None or settings.limit is not None or settings.concurrency is not None


# ---- steps ----------------------------------------------------------------------------------------------------------


def step_needs(scope: Scope, node: int, priority: int, inputs: tuple[bytes, ...]) -> list[Need]:
    """What a step needs, in order. Raises ExpressionError from the key."""
    run, plan, settings = scope.run, scope.graph.plan, scope.graph.settings[node]
    group, needs = run.id, []
    if settings.concurrency is not None:
        found = settings.concurrency
        name = f"task/{found.name}" if found.name else f"step/{plan.flow}/{scope.graph.nodes[node].name or node}"
        key = None if found.key is None else compute_key(found.key, inputs, kinds_of(scope.graph, node))
        name, shown = _keyed(f"key/{name}", found, key)
        group = shown or group
        needs.append((name, _keyed_terms(run, found, priority, run.id)))
    needs += _shared_needs(run, plan, settings, priority, group)
    return needs


def _shared_needs(run: Run, plan: Plan, settings: StepSettings, priority: int, group: str) -> list[Need]:
    """The pool and the rate."""
    needs: list[Need] = []
    if settings.pool is not None:
        definition = _of_pool(run, plan.pools[settings.pool])
        terms = Terms(definition, settings.slots, priority, group, run.submitted_ms)
        needs.append((f"pool/{plan.pools[settings.pool].name}", terms))
    if settings.limit is not None:
        definition = _of_limit(run, plan.limits[settings.limit])
        terms = Terms(definition, 1, priority, group, run.submitted_ms)
        needs.append((f"rate/{plan.limits[settings.limit].name}", terms))
    return needs


def _of_pool(run: Run, pool: PoolDef) -> QuotaDef:
    return QuotaDef(run.submitted_ms, pool.slots)


def _of_limit(run: Run, limit: LimitDef) -> QuotaDef:
    return QuotaDef(run.submitted_ms, limit.burst, limit.rate, limit.per_ms)


def _keyed(name: str, found: ConcurrencyDef, key: bytes | None) -> tuple[str, str]:
    """The quota of a concurrency key, and the key as text; "" without a key."""
    if found.key is None or key is None:
        return name, ""
    shown = repr(msgspec.msgpack.decode(key)) if len(key) <= _KEY_BYTES else hashlib.blake2b(key).hexdigest()[:32]
    return f"{name}/{shown}", shown


def _keyed_terms(run: Run, found: ConcurrencyDef, priority: int, group: str) -> Terms:
    definition = QuotaDef(run.submitted_ms, found.limit)
    return Terms(definition, 1, priority, group, run.submitted_ms, found.on_conflict)


def ask(core: Core, scope: Scope, node: int, attempt: Attempt) -> bool:
    """Asks for the next permit of an attempt. False: it has them all."""
    if attempt.held == len(attempt.needs):
        return False
    quota, terms = attempt.needs[attempt.held]
    core.claims.want(core.claims.open(_holder(scope, node, attempt), quota, terms), 1)
    return True


def release(core: Core, scope: Scope, node: int, attempt: Attempt) -> None:
    """The attempt is over: it gives back what it has, and waits for nothing."""
    holder = _holder(scope, node, attempt)
    for quota, _ in attempt.needs[: attempt.held + 1]:
        core.claims.close(holder, quota)
    attempt.held = 0


def _holder(scope: Scope, node: int, attempt: Attempt) -> Holder:
    return Holder(scope.run.id, scope.id, node, attempt.number)


# ---- items of a simple each -----------------------------------------------------------------------------------------


def for_items(core: Core, scope: Scope, node: int, settings: StepSettings, priority: int, wanted: int) -> int:
    """How many of the items that may start have all permits. Asks for what is missing, gives back what is too much."""
    if settings.pool is None and settings.limit is None:
        return wanted
    fan, run, holder = scope.fans[node], scope.run, _items(scope, node)
    claims, free = core.claims, wanted
    for quota, terms in _shared_needs(run, scope.graph.plan, settings, priority, run.id):
        claim = claims.open(holder, quota, terms)
        is_rate = terms.definition.rate > 0
        spare = claim.held if is_rate else claim.held - fan.live
        used = min(spare, free)
        claims.give_back(claim, spare if is_rate else spare - used)
        claims.want(claim, free - used)
        free = used
    return free


def give_back_items(core: Core, scope: Scope, node: int, settings: StepSettings, count: int) -> None:
    """So many items ended."""
    if settings.pool is not None:
        claim = core.claims.find(_items(scope, node), f"pool/{scope.graph.plan.pools[settings.pool].name}")
        if claim is not None:
            core.claims.give_back(claim, count)


def close_items(core: Core, scope: Scope, node: int, settings: StepSettings) -> None:
    """All items have ended."""
    for quota, _ in _shared_needs(scope.run, scope.graph.plan, settings, 0, ""):
        core.claims.close(_items(scope, node), quota)


def _items(scope: Scope, node: int) -> Holder:
    return Holder(scope.run.id, scope.id, node)


# ---- runs -----------------------------------------------------------------------------------------------------------


def is_limited_flow(plan: Plan) -> bool:
    """Runs of this flow need permits before they begin."""
    return plan.concurrency is not None or plan.max_active_runs is not None or plan.debounce is not None


def run_needs(run: Run, plan: Plan, given: list[bytes]) -> list[Need]:
    """What a run needs before it begins, in order; `given` are its parameters. Raises ExpressionError from the key."""
    priority = _PRIORITY if run.priority is None else run.priority
    needs: list[Need] = []
    nodes = plan.blocks[0].nodes
    kinds = [plan.types[nodes[i].type] for i in range(len(given))]
    if plan.debounce is not None:
        written = plan.debounce.key
        newest = ConcurrencyDef(limit=1, key=written, on_conflict="cancel_running")
        key = None if written is None else compute_key(written, given, kinds)
        name, _ = _keyed(f"{_DEBOUNCE}{plan.flow}", newest, key)
        needs.append((name, _keyed_terms(run, newest, priority, "")))
    if plan.concurrency is not None:
        written = plan.concurrency.key
        key = None if written is None else compute_key(written, given, kinds)
        name, _ = _keyed(f"flow/{plan.flow}", plan.concurrency, key)
        needs.append((name, _keyed_terms(run, plan.concurrency, priority, "")))
    if plan.max_active_runs is not None:
        definition = QuotaDef(run.submitted_ms, plan.max_active_runs)
        needs.append((f"runs/{plan.flow}", Terms(definition, 1, priority, "", run.submitted_ms)))
    return needs


def is_debounce(quota: str) -> bool:
    """The quota of those that wait to be replaced by newer ones."""
    return quota.startswith(_DEBOUNCE)


def close_debounce(core: Core, run: Run) -> None:
    """The run was not replaced while it could be: a newer one runs beside it."""
    for quota, _ in run.needs:
        if is_debounce(quota):
            core.claims.close(Holder(run.id), quota)


def close_run(core: Core, run: Run) -> None:
    """A run that has not begun gives back what it has, and waits for nothing."""
    for quota, _ in run.needs[: run.held + 1]:
        core.claims.close(Holder(run.id), quota)


def ask_run(core: Core, run: Run) -> bool:
    """Asks for the next permit of a run. False: it has them all."""
    if run.held == len(run.needs):
        return False
    quota, terms = run.needs[run.held]
    core.claims.want(core.claims.open(Holder(run.id), quota, terms), 1)
    return True
