"""What other projects have speaks against a deployment."""

from __future__ import annotations

import pytest
from flowrun.deployments.building import Built
from flowrun.deployments.changes import nothing_of
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


@pytest.mark.parametrize("lost", ["manifest", "history"])
def test_what_cannot_be_read_of_another_project_speaks_against_it_and_not_against_its_own(lost: str) -> None:
    async def main() -> tuple[list[str], list[str], list[str]]:
        server = MemoryServer()
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        bank = built("bank", flow("other"))
        await deploy(transport, bank)
        if lost == "manifest":
            del server.blobs[bank.digest]
        else:
            await transport.write_entry("deployment.bank", b"\xc1")
        return (
            await objections(transport, built("shop", flow()).manifest),
            await objections(transport, bank.manifest),
            await objections(transport, nothing_of("shop")),
        )

    others, own, undeploy = run_virtual(main())
    assert len(others) == 1
    assert others[0].startswith("what project `bank` has deployed cannot be read")
    assert own == undeploy == []
