"""Each pool and each limit that is deployed belongs to one partition."""

from __future__ import annotations

from flowc.plan import LimitDef, PoolDef
from flowrun.engine import Engine, deployed_quotas
from flowrun.manifest import Manifest
from flowrun.messages import QuotaDef

NAMES = [f"p{number}" for number in range(20)]
MANIFEST = Manifest(
    project="shop",
    flows=(),
    pools=tuple(PoolDef(name=name, slots=3) for name in NAMES),
    limits=tuple(LimitDef(name=name, rate=2, per_ms=1_000, burst=5) for name in NAMES),
)


def test_partitions_share_them_among_each_other() -> None:
    engines = [Engine(str(partition), 4) for partition in range(4)]
    for engine in engines:
        deployed_quotas.deploy(engine, "shop", MANIFEST, 7)
    for kind, wanted in (("pool", QuotaDef(7, 3)), ("rate", QuotaDef(7, 5, 2, 1_000))):
        for name in NAMES:
            found = [one for engine in engines if (one := engine.quotas.deployed(f"{kind}/{name}")) is not None]
            assert found == [wanted]


def test_a_single_partition_has_all_and_loses_them_with_the_project() -> None:
    engine = Engine("0", 1)
    deployed_quotas.deploy(engine, "shop", MANIFEST, 7)
    assert all(engine.quotas.deployed(f"pool/{name}") for name in NAMES)
    deployed_quotas.deploy(engine, "shop", None, 8)
    assert not any(engine.quotas.deployed(f"pool/{name}") for name in NAMES)
