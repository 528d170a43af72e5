"""A node's folder: what is there is used, what is not is made once, what nobody uses goes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flowrun.code import environment, store
from flowrun.code.layout import CodeError
from flowrun.code.locks import FileLock
from flowrun.code.packing import pack_code
from flowrun.code.store import CodeStore, PreparedCode
from flowrun.errors import StoreError

from tests.unit.code.test_packing import write
from tests.unit.worker.code_harness import wheel


class Blobs:
    """What is deployed, and how often it was asked for."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.asked = 0

    async def get(self, digest: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0.01)
        if digest not in self.data:
            raise StoreError(f"there is no {digest}")
        return self.data[digest]

    def add(self, root: Path) -> str:
        packed = pack_code(root)
        self.data[packed.digest] = packed.data
        return packed.digest


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


def node(folder: Path, blobs: Blobs) -> CodeStore:
    return CodeStore(folder, blobs.get, os.environ)


async def test_a_code_is_unpacked_once_for_all_processes_of_a_node(tmp_path: Path, blobs: Blobs) -> None:
    digest = blobs.add(write(tmp_path / "project", tasks_dot_py="x = 1"))
    nodes = [node(tmp_path / "cache", blobs) for _ in range(4)]
    found = await asyncio.gather(*(one.prepare(digest) for one in nodes))
    assert blobs.asked == 1
    assert {code.root for code in found} == {tmp_path / "cache" / "code" / digest}
    assert (found[0].root / "tasks.py").read_text() == "x = 1"
    assert found[0].interpreter is None
    assert sorted(path.name for path in (tmp_path / "cache" / "code").iterdir()) == [digest, f"{digest}.lock"]


async def test_what_is_not_there_or_not_what_it_should_be(tmp_path: Path, blobs: Blobs) -> None:
    one = node(tmp_path / "cache", blobs)
    with pytest.raises(StoreError):
        await one.prepare("0" * 32)
    digest = blobs.add(write(tmp_path / "project", tasks_dot_py="x = 1"))
    good = blobs.data[digest]
    blobs.data[digest] = good.replace(b"x = 1", b"x = 2")
    with pytest.raises(CodeError, match="is not what was deployed"):
        await one.prepare(digest)
    assert not (tmp_path / "cache" / "code" / digest).exists()
    blobs.data[digest] = good
    assert (await one.prepare(digest)).root.is_dir()


async def test_a_folder_that_cannot_be_written(tmp_path: Path, blobs: Blobs) -> None:
    digest = blobs.add(write(tmp_path / "project", tasks_dot_py=""))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CodeError, match=r"cannot keep code in .*cache: .*FLOW_CACHE names another folder"):
        await node(tmp_path / "cache", blobs).prepare(digest)


async def test_what_nobody_uses_is_removed_the_longest_unused_first(
    tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_KEPT", 3)
    one = node(tmp_path / "cache", blobs)
    digests = [blobs.add(write(tmp_path / f"p{n}", tasks_dot_py=str(n))) for n in range(6)]
    held = await one.prepare(digests[0])
    for n, digest in enumerate(digests[1:], 1):
        code = await one.prepare(digest)
        code.release()
        os.utime(code.root.with_name(f"{digest}.lock"), (1000 + n, 1000 + n))
    left = {digest for digest in digests if (tmp_path / "cache" / "code" / digest).exists()}
    assert left == {digests[0], *digests[4:]}
    os.utime(held.root.with_name(f"{digests[0]}.lock"), (1000, 1000))
    (await one.prepare(digests[1])).release()
    assert held.root.exists()  # it is in use
    held.release()
    await one.prepare(digests[2])
    assert not held.root.exists()


async def test_what_is_large_is_removed_earlier(tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    one = node(tmp_path / "cache", blobs)
    digests = [blobs.add(write(tmp_path / f"p{n}", data_dot_txt=str(n) * 10_000)) for n in range(4)]
    monkeypatch.setattr(store, "MOST_SIZE", 25_000)
    for n, digest in enumerate(digests):
        code = await one.prepare(digest)
        code.release()
        os.utime(code.root.with_name(f"{digest}.lock"), (1000 + n, 1000 + n))
    left = [digest for digest in digests if (tmp_path / "cache" / "code" / digest).exists()]
    assert left == digests[2:]


async def test_locks_are_shared_or_alone_and_end_with_their_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    one, two = FileLock(path), FileLock(path)
    assert one.try_share()
    assert two.try_share()
    assert not FileLock(path).try_alone()
    two.release()
    assert one.try_alone()
    assert not two.try_share()
    one.remove()
    code = "import sys; from pathlib import Path; from flowrun.code.locks import FileLock\n"
    code += "lock = FileLock(Path(sys.argv[1])); assert lock.try_alone(); print('held', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert not two.try_share()
        process.kill()
    assert two.try_share()
    two.release()


# ---- environments


def needing(tmp_path: Path, text: str, name: str = "project") -> Path:
    """A project whose wheels are beside its code."""
    wheel(tmp_path / name / "wheels", "greeting", "1.0", "def hello(): return 'hello 1'")
    return write(tmp_path / name, tasks_dot_py="", requirements_dot_txt=f"--no-index\n--find-links wheels\n{text}\n")


def run_in(code: PreparedCode, text: str) -> str:
    assert code.interpreter is not None
    done = subprocess.run([code.interpreter, "-P", "-c", text], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


async def test_dependencies_are_installed_once_for_all_codes_that_share_them(tmp_path: Path, blobs: Blobs) -> None:
    digests = [blobs.add(needing(tmp_path, "greeting==1.0\nflowc>=0.0.1", name)) for name in ("one", "two")]
    blobs.add(write(tmp_path / "two", tasks_dot_py="2"))
    nodes = [node(tmp_path / "cache", blobs) for _ in range(2)]
    found = await asyncio.gather(*(one.prepare(digest) for one, digest in zip(nodes, digests, strict=True)))
    assert run_in(found[0], "import greeting; print(greeting.hello())") == "hello 1"
    assert "No module named 'msgspec'" in run_in(found[0], "import msgspec")  # nothing of ours is in it
    assert found[0].interpreter == found[1].interpreter
    (root,) = [path for path in (tmp_path / "cache" / "environments").iterdir() if path.is_dir()]
    before = (root / "pyvenv.cfg").stat().st_mtime_ns
    again = await node(tmp_path / "cache", blobs).prepare(digests[0])
    assert (root / "pyvenv.cfg").stat().st_mtime_ns == before
    (root / "bin" / "python").unlink()  # the worker's Python was replaced
    for code in (*found, again):
        code.release()
    assert "hello 1" in run_in(
        await node(tmp_path / "cache", blobs).prepare(digests[0]), "import greeting; print(greeting.hello())"
    )


async def test_what_cannot_be_installed_is_told_and_tried_again(tmp_path: Path, blobs: Blobs) -> None:
    digest = blobs.add(needing(tmp_path, "greeting==2.0"))
    one = node(tmp_path / "cache", blobs)
    with pytest.raises(CodeError, match=r"dependencies cannot be installed: [\s\S]*greeting==2\.0") as info:
        await one.prepare(digest)
    assert len(str(info.value)) < 3000
    with pytest.raises(CodeError, match=r"greeting==2\.0"):
        await one.prepare(digest)
    assert FileLock(tmp_path / "cache" / "code" / f"{digest}.lock").try_alone()  # it is not held


async def test_a_version_that_does_not_suit_us_is_a_conflict(tmp_path: Path, blobs: Blobs) -> None:
    root = needing(tmp_path, "msgspec==0.1")
    wheel(root / "wheels", "msgspec", "0.1", "")
    with pytest.raises(CodeError, match=r"(?i)msgspec"):
        await node(tmp_path / "cache", blobs).prepare(blobs.add(root))


async def test_an_installer_that_hangs_is_ended(tmp_path: Path, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "MOST_SECONDS", 0.2)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "uv").write_text("#!/bin/sh\nsleep 60\n")
    (tools / "uv").chmod(0o755)
    digest = blobs.add(needing(tmp_path, "greeting"))
    one = CodeStore(tmp_path / "cache", blobs.get, {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
    with pytest.raises(CodeError, match=r"took longer than 0\.2 s and was given up"):
        await one.prepare(digest)


async def test_who_was_killed_leaves_nothing_that_matters(tmp_path: Path, blobs: Blobs) -> None:
    """A process that dies while it prepares, and its installer, which goes on for a while."""
    digest = blobs.add(needing(tmp_path, "greeting"))
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "uv").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/installer; mkdir {tmp_path}/half; exec sleep 1.5\n")
    (tools / "uv").chmod(0o755)
    (tmp_path / "blob").write_bytes(blobs.data[digest])
    code = """if True:
        import asyncio, os, sys
        from pathlib import Path
        from flowrun.code.store import CodeStore
        async def get(digest): return Path(sys.argv[2], "blob").read_bytes()
        path = sys.argv[2] + "/bin:" + os.environ["PATH"]
        store = CodeStore(Path(sys.argv[2], "cache"), get, {**os.environ, "PATH": path})
        asyncio.run(store.prepare(sys.argv[1]))
    """
    dying = subprocess.Popen([sys.executable, "-c", code, digest, str(tmp_path)])
    with dying:
        async with asyncio.timeout(10):
            while not (tmp_path / "half").exists():
                await asyncio.sleep(0.01)
        dying.kill()
    scratch = tmp_path / "cache" / "code" / f".{digest}.new"
    scratch.mkdir()
    found = await node(tmp_path / "cache", blobs).prepare(digest)
    assert run_in(found, "import greeting; print(greeting.hello())") == "hello 1"
    installer = Path("/proc", (tmp_path / "installer").read_text().strip(), "stat")
    assert not installer.exists() or ") Z " in installer.read_text()  # its end was waited for
