"""What other projects have speaks against a deployment."""

from __future__ import annotations

from flowrun.deployments.building import Built
from flowrun.deployments.objections import objections
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual

from .builders import built, change, deploy, flow, webhook


def told(deployed: list[Built], new: Built, *, undeployed: bool = False) -> list[str]:
    async def main() -> list[str]:
        transport = MemoryTransport(MemoryServer())
        await transport.open_partition("0")
        for one in deployed:
            await deploy(transport, one)
            if undeployed:
                await change(transport, one.manifest.project, "undeploy", "")
        return await objections(transport, new.manifest)

    return run_virtual(main())


def test_nothing_speaks_against_what_stands_alone_or_replaces_its_own() -> None:
    assert told([], built("shop", flow())) == []
    assert told([built("shop", flow(), slots=1)], built("shop", flow(), slots=9)) == []
    assert told([built("bank", flow("other"), slots=3)], built("shop", flow(), slots=3)) == []


def test_a_flow_of_another_project() -> None:
    (found,) = told([built("bank", flow("nightly"))], built("shop", flow("nightly")))
    assert found.startswith("flow `nightly` (nightly.flow) is deployed by project `bank`, too")
    assert told([built("bank", flow("nightly"))], built("shop", flow("nightly")), undeployed=True) == []


def test_a_pool_or_a_limit_that_is_another_elsewhere() -> None:
    found = told([built("bank", flow("other"), slots=3, rate=5)], built("shop", flow(), slots=4, rate=6))
    assert [line.split(":")[0] for line in found] == [
        "pool `db` has another size in project `bank`", "limit `api` is another in project `bank`",
    ]  # fmt: skip


def test_two_webhooks_with_one_path() -> None:
    hook = webhook("hook", "/orders")
    (found,) = told([built("bank", flow("other", triggers=(hook,)))], built("shop", flow(triggers=(hook,))))
    assert found.startswith("trigger `nightly.hook` and trigger `other.hook` of project `bank` have the same path /ord")
    (found,) = told([], built("shop", flow("a", triggers=(hook,)), flow("b", triggers=(hook,))))
    assert found.startswith("trigger `b.hook` and trigger `a.hook` have the same path /orders")
