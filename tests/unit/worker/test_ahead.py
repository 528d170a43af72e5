"""What is deployed is prepared before its work comes; what is not trusted is not touched."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest
from flowc.plan import digest
from flowrun.code.packing import pack_code
from flowrun.deployments.signing import SigningKey, key_text
from flowrun.deployments.trust import Trust
from flowrun.manifest import Deployment, History, Manifest, encode_history, encode_manifest, key_of
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.worker import ahead
from flowrun.worker.ahead import Ahead
from flowrun.worker.codes import Codes

from tests.unit.worker.code_harness import project


async def deploy(transport: MemoryTransport, root: Path, *, name: str = "shop", number: int = 1) -> str:
    """Gives the digest of the code."""
    packed = pack_code(root)
    manifest = encode_manifest(Manifest(project=name, flows=(), code=packed.digest))
    await transport.put_blob(packed.digest, packed.data)
    await transport.put_blob(digest(manifest), manifest)
    history = History(deployments=(Deployment(number=number, manifest=digest(manifest), at_ms=1),))
    await transport.write_entry(key_of(name), encode_history(history))
    return packed.digest


async def test_deployed_code_is_prepared_and_so_is_what_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "BEGIN_AFTER", 0.0)
    transport = MemoryTransport(MemoryServer())
    first = await deploy(transport, project(tmp_path / "one", tasks="1"))
    codes = Codes(tmp_path / "cache", transport.get_blob, os.environ)
    running = asyncio.create_task(Ahead(transport, codes, "dev", Trust(())).run())
    async with asyncio.timeout(5):
        while codes.ready(first) is None:
            await asyncio.sleep(0.01)
        second = await deploy(transport, project(tmp_path / "two", tasks="2"), number=2)
        while codes.ready(second) is None:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    await codes.close()


async def test_what_cannot_be_prepared_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = MemoryServer()
    transport = MemoryTransport(server)
    first = await deploy(transport, project(tmp_path / "one", tasks="1"), name="first")
    second = await deploy(transport, project(tmp_path / "two", tasks="2"), name="second")
    server.blobs[first] = b"something else"
    codes = Codes(tmp_path / "cache", transport.get_blob, os.environ)
    with caplog.at_level(logging.WARNING):
        await Ahead(transport, codes, "dev", Trust(())).look()
    assert "the code of project first is not ready" in caplog.text
    assert codes.ready(second) is not None
    await codes.close()


async def test_what_is_not_trusted_is_not_touched(tmp_path: Path) -> None:
    transport = MemoryTransport(MemoryServer())
    code = await deploy(transport, project(tmp_path / "one", tasks="1"))
    codes = Codes(tmp_path / "cache", transport.get_blob, os.environ)
    await Ahead(transport, codes, "dev", Trust((key_text(SigningKey.new().public),))).look()
    assert codes.ready(code) is None
    assert not (tmp_path / "cache").exists()
