"""Whose deployments are accepted, and which plans are executed because of that."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from flowrun.deployments.reading import read_history
from flowrun.deployments.signing import KeyProblem, SigningKey, key_bytes, key_text, signed
from flowrun.deployments.trust import Trust
from flowrun.deployments.trusted_plans import TrustedPlans, UntrustedPlan
from flowrun.manifest import Deployment, encode_history, key_of
from flowrun.memory import MemoryServer, MemoryTransport, run_virtual

from .builders import built, change, deploy, flow

ADA, EVE = SigningKey.new(), SigningKey.new()
TRUST = Trust([key_text(ADA.public)])
DEPLOYMENT = Deployment(number=3, manifest="ab" * 16, at_ms=5, by="ada", note="why")


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_a_key_is_a_file_and_a_line_of_text() -> None:
    again = SigningKey.from_pem(ADA.to_pem())
    assert again.public == ADA.public == key_bytes(key_text(ADA.public))
    assert key_text(ADA.public).startswith("ed25519:")


@pytest.mark.parametrize("text", ["", "ed25519:", "ed25519:AAAA", "ed25519:***", "A" * 43 + "="])
def test_what_is_no_public_key_is_told(text: str) -> None:
    with pytest.raises(KeyProblem, match="is no public key"):
        Trust([text])


def test_what_is_no_private_key_is_told() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data, why in ((b"", "cannot be read"), (b"hello", "cannot be read"), (other, "no ed25519 key")):
        with pytest.raises(KeyProblem, match=why):
            SigningKey.from_pem(data)


# ---- signatures -----------------------------------------------------------------------------------------------------


def test_a_trusted_signature_is_accepted_and_without_keys_everything_is() -> None:
    assert TRUST.refuses("prod", "shop", signed(DEPLOYMENT, "prod", "shop", ADA)) is None
    assert Trust().refuses("prod", "shop", DEPLOYMENT) is None
    assert bool(TRUST)
    assert not Trust()


def test_who_signs_nothing_or_is_a_stranger_is_refused() -> None:
    assert "is not signed" in str(TRUST.refuses("prod", "shop", DEPLOYMENT))
    stranger = TRUST.refuses("prod", "shop", signed(DEPLOYMENT, "prod", "shop", EVE))
    assert key_text(EVE.public) in str(stranger)
    # with somebody else's name on it
    forged = msgspec.structs.replace(signed(DEPLOYMENT, "prod", "shop", EVE), key=ADA.public)
    assert "does not hold" in str(TRUST.refuses("prod", "shop", forged))


@pytest.mark.parametrize(
    "changes",
    [{"manifest": "cd" * 16}, {"number": 4}, {"at_ms": 6}, {"action": "rollback"}, {"by": "eve"}, {"note": ""},
     {"signature": b"\x00" * 64}, {"signature": b"short"}],
)  # fmt: skip
def test_a_changed_entry_is_refused(changes: dict[str, object]) -> None:
    made = msgspec.structs.replace(signed(DEPLOYMENT, "prod", "shop", ADA), **changes)
    assert "does not hold" in str(TRUST.refuses("prod", "shop", made))


def test_a_signature_holds_for_one_environment_and_one_project() -> None:
    made = signed(DEPLOYMENT, "staging", "shop", ADA)
    assert "does not hold" in str(TRUST.refuses("prod", "shop", made))
    assert "does not hold" in str(TRUST.refuses("staging", "bank", made))


# ---- plans ----------------------------------------------------------------------------------------------------------


def test_plans_of_all_trusted_deployments_are_executed_and_no_others() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        old, new, foreign = (built("shop", flow(target=f"tasks:{name}")) for name in ("old", "new", "foreign"))
        await deploy(transport, old, key=ADA)
        await deploy(transport, foreign, key=EVE)
        await deploy(transport, new, key=ADA)
        trusted = TrustedPlans(transport, "dev", TRUST)
        for one in (old, new, old):
            await trusted.check(one.manifest.flows[0].plan)
        for plan in (foreign.manifest.flows[0].plan, "0" * 32):
            with pytest.raises(UntrustedPlan, match="not part of a deployment that a trusted signer made"):
                await trusted.check(plan)

    run_virtual(main())


def test_a_plan_that_is_deployed_later_is_executed_then() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        await transport.open_partition("0")
        what, trusted = built("shop", flow()), TrustedPlans(transport, "dev", TRUST)
        plan = what.manifest.flows[0].plan
        with pytest.raises(UntrustedPlan):
            await trusted.check(plan)
        await deploy(transport, what, key=ADA)
        await asyncio.sleep(1.1)
        await trusted.check(plan)
        await change(transport, "shop", "undeploy", "")
        await TrustedPlans(transport, "dev", TRUST).check(plan)  # a run may still be on it

    run_virtual(main())


def test_a_manifest_that_was_exchanged_in_the_store_names_nothing() -> None:
    async def main() -> None:
        server = MemoryServer()
        transport = MemoryTransport(server)
        await transport.open_partition("0")
        good, bad = built("shop", flow()), built("shop", flow(target="tasks:evil"))
        await deploy(transport, good, key=ADA)
        server.blobs[good.digest] = bad.blobs[bad.digest]
        with pytest.raises(UntrustedPlan):
            await TrustedPlans(transport, "dev", TRUST).check(bad.manifest.flows[0].plan)

    run_virtual(main())


def test_an_entry_that_was_moved_to_another_project_counts_for_nothing() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        await transport.open_partition("0")
        what = built("shop", flow())
        await deploy(transport, what, key=ADA)
        history = (await read_history(transport, "shop")).history
        await transport.write_entry(key_of("bank"), encode_history(history))
        await transport.remove_entry(key_of("shop"))
        with pytest.raises(UntrustedPlan):
            await TrustedPlans(transport, "dev", TRUST).check(what.manifest.flows[0].plan)

    run_virtual(main())


def test_a_damaged_entry_of_another_project_harms_no_worker() -> None:
    async def main() -> None:
        transport = MemoryTransport(MemoryServer())
        await transport.open_partition("0")
        what = built("shop", flow())
        await deploy(transport, what, key=ADA)
        await transport.write_entry(key_of("bank"), b"garbage")
        await TrustedPlans(transport, "dev", TRUST).check(what.manifest.flows[0].plan)

    run_virtual(main())
