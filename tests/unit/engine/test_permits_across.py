"""Permits across partitions: limits hold, everybody is served, nothing leaks, whatever the network and leaders do."""

from __future__ import annotations

from typing import Any

from flowc import plan as p
from flowrun import messages as m
from flowrun.engine import Send
from flowrun.engine.claims import Claim
from flowrun.engine.grants import CHECK_MS
from flowrun.partitions import owner_of, partition_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.engine import builders as b
from tests.unit.engine.cluster import Cluster

SLOTS, RUNS, SAME_KEY = 3, 4, 2
SETTINGS = (
    b.settings(pool=0, slots=2),
    b.settings(pool=0, retry=p.RetryPolicy(max=2, first_ms=20)),
    b.settings(pool=0, limit=0, priority=8),
    b.settings(pool=0, concurrency=p.ConcurrencyDef(limit=SAME_KEY, key=["in", 0])),
    b.settings(concurrency=p.ConcurrencyDef(limit=1, name="t")),
)
PLAN = b.flow(
    b.task("heavy", settings=0),
    b.task("light", settings=1),
    b.each(1, ["call", "range", ["in", 0]], 1, name="items", simple=True, on_error="skip"),
    b.each(2, ["call", "range", ["in", 0]], 1, name="paced", simple=True, concurrency=5),
    b.task("keyed", 2, settings=3),
    b.task("one", settings=4),
    params=(b.param("n"), b.param("k")),
    blocks=(
        b.block(b.task("item", 0, settings=1), params=1, result=1),
        b.block(b.task("paced_item", 0, settings=2), params=1, result=1),
    ),
    settings=SETTINGS,
    pools=(p.PoolDef(name="db", slots=SLOTS),),
    limits=(p.LimitDef(name="api", rate=100, per_ms=1_000, burst=3),),
    concurrency=p.ConcurrencyDef(limit=2, key=["in", 2]),
    max_active_runs=RUNS,
)
SEEDS = st.integers(0, 1_000_000)


def in_limits(cluster: Cluster) -> None:
    """What owners and holders believe, and what runs."""
    held: dict[str, int] = {}
    for partition in cluster.partitions.values():
        for claim in partition.engine.claims:
            held[claim.quota] = held.get(claim.quota, 0) + claim.held * min(claim.terms.slots, SLOTS)
            assert not claim.held or known(cluster, claim) >= claim.held, "an owner knows of all that is held"
    assert all(count <= SLOTS for name, count in held.items() if name.startswith("pool/"))
    assert all(count <= SAME_KEY for name, count in held.items() if name.startswith("key/"))
    assert all(count <= RUNS for name, count in held.items() if name.startswith("runs/"))
    heavy, light = cluster.running({"heavy"}), cluster.running({"light", "items", "paced", "keyed"})
    assert 2 * heavy + light <= SLOTS
    assert cluster.running({"one"}) <= 1
    begun = {run.id for one in cluster.partitions.values() for run in one.engine.runs.values() if run.body}
    assert len(begun - set(cluster.ended)) <= RUNS


def known(cluster: Cluster, claim: Claim) -> int:
    owner = cluster.partitions[owner_of(claim.quota, cluster.count)].engine.quotas
    return owner.by_name[claim.quota].entries[claim.holder].held


def left(cluster: Cluster) -> list[Any]:
    """What of permits is left anywhere."""
    found: list[Any] = []
    for partition in cluster.partitions.values():
        found += list(partition.engine.claims)
        found += [entry for _, entry in partition.engine.quotas.entries()]
        found += [name for name, quota in partition.engine.quotas.by_name.items() if quota.order or quota.taken]
    return found


@given(SEEDS, st.integers(1, 4), st.integers(1, 7), st.booleans())
@settings(max_examples=60, deadline=None)
def test_limits_hold_everybody_is_served_and_nothing_leaks(seed: int, count: int, runs: int, failing: bool) -> None:
    cluster = Cluster(PLAN, count, seed)
    cluster.outcome = lambda name: "failed" if failing and cluster.random.random() < 0.2 else "success"
    for i in range(runs):
        cluster.submit(f"r{i}", b.args(n=cluster.random.randrange(6), k=f"k{cluster.random.randrange(2)}"))

    def check() -> None:
        in_limits(cluster)
        chance = cluster.random.random()
        if chance < 0.02:
            cluster.crash()
        elif chance < 0.06:
            cluster.snapshot()
        elif chance < 0.065:
            run = f"r{cluster.random.randrange(runs)}"
            cluster.post(partition_of(run, count), m.Cancel(run))

    cluster.drain(check)
    assert sorted(set(cluster.ended)) == [f"r{i}" for i in range(runs)]
    assert left(cluster) == []


def run_in(partition: str, count: int) -> str:
    """The name of a run of this partition."""
    return next(name for i in range(1_000) if partition_of(name := f"r{i}", count) == partition)


def one_pool(slots: int = 1) -> p.Plan:
    return b.flow(b.task("a"), settings=(b.settings(pool=0),), pools=(p.PoolDef(name="db", slots=slots),))


OWNER = owner_of("pool/db", 2)
OTHER = "1" if OWNER == "0" else "0"


def test_a_holder_whose_partition_lost_its_store_is_found_out() -> None:
    cluster = Cluster(one_pool(), 2, 1)
    cluster.submit(run_in(OTHER, 2))
    cluster._deliver()
    assert cluster.partitions[OWNER].engine.quotas.taken("pool/db") == 1
    cluster.partitions[OTHER] = type(cluster.partitions[OTHER])(OTHER, 2, cluster.plan)
    cluster.network.clear()
    mine = run_in(OWNER, 2)
    cluster.submit(mine)
    assert not cluster.partitions[OWNER].ready
    before = cluster.now
    cluster.drain()
    assert cluster.ended == [mine]
    assert cluster.now - before <= CHECK_MS + 100
    assert left(cluster) == []


def test_an_owner_that_lost_its_store_learns_who_holds_and_waits() -> None:
    cluster = Cluster(one_pool(), 2, 1)
    runs = [name for i in range(40) if partition_of(name := f"r{i}", 2) == OTHER][:2]
    for run in runs:
        cluster.submit(run)
    while cluster.network:
        cluster._deliver()
    assert len(cluster.partitions[OTHER].ready) == 1
    cluster.partitions[OWNER] = type(cluster.partitions[OWNER])(OWNER, 2, cluster.plan)
    cluster.now += 2_000
    cluster.post(OWNER, m.TakeOver(1, "n", 1))
    while cluster.network:
        cluster._deliver()
    assert cluster.partitions[OWNER].engine.quotas.taken("pool/db") == 1
    assert len(cluster.partitions[OTHER].ready) == 1
    cluster.drain()
    assert sorted(cluster.ended) == sorted(runs)
    assert left(cluster) == []


def test_an_ask_that_comes_after_its_release_leaks_nothing() -> None:
    cluster = Cluster(one_pool(), 2, 1)
    cluster.submit(run_in(OTHER, 2))
    ask = cluster.network[0][2]
    cluster.drain()
    cluster.post(OWNER, ask.event)
    cluster.drain()
    assert left(cluster) == []
    assert isinstance(ask.event, m.Ask)


def test_one_that_says_it_has_something_and_is_not_known_is_asked_at_once() -> None:
    cluster = Cluster(one_pool(), 2, 1)
    terms = m.Terms(m.QuotaDef(cluster.now, 1))
    late = m.Ask("pool/db", m.Holder("gone", 0, 2), OTHER, 1, 2, 1, 0, terms)
    cluster.post(OWNER, late)
    assert cluster.partitions[OWNER].engine.quotas.taken("pool/db") == 1
    now = cluster.now
    while cluster.network:
        cluster._deliver()
    assert cluster.now == now
    assert left(cluster) == []


def test_an_ask_that_comes_again_gets_the_same_answer() -> None:
    cluster = Cluster(one_pool(), 2, 1)
    cluster.submit(run_in(OTHER, 2))
    ask = cluster.network[0][2]
    cluster.network.clear()
    for _ in range(2):
        cluster.post(OWNER, ask.event)
    grants = [sent.event for _, _, sent in cluster.network]
    assert [(grant.granted, grant.answer) for grant in grants if isinstance(grant, m.Grant)] == [(1, "granted")] * 2
    assert cluster.partitions[OWNER].engine.quotas.taken("pool/db") == 1


def test_a_big_each_asks_and_gives_back_in_lumps() -> None:
    total, lump, slots = 20_000, 500, 2_000
    plan = b.flow(
        b.each(1, ["call", "range", ["in", 0]], 1, name="items", simple=True, collects=False),
        params=(b.param("n"),),
        blocks=(b.block(b.task("item", 0), params=1, result=1),),
        settings=(b.settings(pool=0),),
        pools=(p.PoolDef(name="db", slots=slots),),
    )
    cluster = Cluster(plan, 2, 1)
    run = run_in(OTHER, 2)
    cluster.submit(run, b.args(n=total))
    partition, results = cluster.partitions[OTHER], 0
    while not cluster.ended:
        while cluster.network:
            cluster._deliver()
        work = partition.ready.pop(0)
        if work.last - work.first > lump:
            rest = {name: getattr(work, name) for name in work.__struct_fields__}
            partition.ready.insert(0, type(work)(**{**rest, "first": work.first + lump}))
        last = min(work.last, work.first + lump)
        outcome = m.Outcome(run, work.scope, work.node, 1, "success", b"", first=work.first, last=last)
        cluster.post(OTHER, m.Results("b", "w", (outcome,)))
        results += 1
    assert results == total // lump
    messages = [sent for sent in cluster.sent.values() if sent.event.__class__ in (m.Ask, m.Release, m.Grant)]
    assert len(messages) <= 2 * results + 5


def test_the_owner_of_a_single_partition_is_itself() -> None:
    cluster = Cluster(PLAN, 1, 1)
    cluster.submit("r", b.args(n=3, k="a"))
    cluster.drain()
    assert cluster.ended == ["r"]
    assert not any(isinstance(sent, Send) for sent in cluster.sent.values())
