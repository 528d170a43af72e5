"""What is unpacked is what was packed; nothing is written of anything else."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from flowrun.code import unpacking
from flowrun.code.layout import INFO, CodeError, CodeInfo, hash_of
from flowrun.code.packing import pack_code
from flowrun.code.unpacking import unpack_code
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.code.test_packing import write


def test_a_code_comes_back_as_it_was(tmp_path: Path) -> None:
    root = write(tmp_path / "project", tasks_dot_py="x = 1", pkg__deep__data_dot_csv="a;b", run_dot_sh="exit 0")
    (root / "run.sh").chmod(0o755)
    packed = pack_code(root, ["pkg"])
    info = unpack_code(packed.data, packed.digest, tmp_path / "there")
    assert info.python == ("pkg",)
    for name in ("tasks.py", "pkg/deep/data.csv", "run.sh"):
        assert (tmp_path / "there" / name).read_bytes() == (root / name).read_bytes()
    assert os.access(tmp_path / "there" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "there" / "tasks.py", os.X_OK)
    assert pack_code(tmp_path / "there", ["pkg"]).digest == packed.digest


Change = Callable[[zipfile.ZipFile], None]
_INFO = CodeInfo()


def made(*changes: Change, info: CodeInfo | bytes = _INFO) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(INFO, info if isinstance(info, bytes) else msgspec.json.encode(info))
        for change in changes:
            change(archive)
    return buffer.getvalue()


def named(name: str) -> Change:
    return lambda archive: archive.writestr(zipfile.ZipInfo(name), b"x")


def link(archive: zipfile.ZipFile) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(member, "/etc/passwd")


def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("bomb", bytes(1 << 20), zipfile.ZIP_DEFLATED)


def twice(archive: zipfile.ZipFile) -> None:
    archive.writestr("x", b"1")
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x", b"2")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be unpacked"),
        (b"no zip", "cannot be unpacked"),
        (made(named("../out.py")), "a file named '../out.py'"),
        (made(named("/etc/x")), "a file named '/etc/x'"),
        (made(named("a//b")), "a file named"),
        (made(named("a/./b")), "a file named"),
        (made(named("a\\..\\b")), "a file named"),
        (made(named("folder/")), "a file named"),
        (made(link), "link is no plain file"),
        (made(bomb), "bomb is compressed"),
        (made(twice), "x is in it twice"),
        (made(named("a"), named("a/b")), "a is both a file and a folder"),
        (made(info=b"{"), "does not say how it is used"),
        (made(info=b'{"python": 3}'), "does not say how it is used"),
        (made(info=CodeInfo(format=99)), "has format 99"),
        (made(info=CodeInfo(python=("../..",))), "names the place '../..'"),
        (made(info=CodeInfo(requirements="/etc/x")), "names the place '/etc/x'"),
    ],
)
def test_what_packing_does_not_make_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(CodeError, match=why.replace("(", r"\(")):
        unpack_code(data, hash_of(data), tmp_path / "there")
    assert not (tmp_path / "there").exists()
    assert not (tmp_path / "out.py").exists()


def test_a_code_without_its_info_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", b"")
    with pytest.raises(CodeError, match="cannot be unpacked"):
        unpack_code(buffer.getvalue(), hash_of(buffer.getvalue()), tmp_path / "there")


def test_a_code_with_another_hash_is_refused(tmp_path: Path) -> None:
    packed = pack_code(write(tmp_path / "project", tasks_dot_py="x = 1"))
    data = packed.data.replace(b"x = 1", b"x = 2")
    with pytest.raises(CodeError, match=f"the code {packed.digest} is not what was deployed"):
        unpack_code(data, packed.digest, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_huge_codes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made(*(named(f"f{n}") for n in range(30)))
    monkeypatch.setattr(unpacking, "MOST_FILES", 20)
    with pytest.raises(CodeError, match="it has 31 files"):
        unpack_code(data, hash_of(data), tmp_path / "there")
    monkeypatch.setattr(unpacking, "MOST_BYTES", 100)
    monkeypatch.setattr(unpacking, "MOST_FILES", 0)
    with pytest.raises(CodeError, match="is the most"):
        unpack_code(data, hash_of(data), tmp_path / "there")


_PACKED = made(named("tasks.py"), named("pkg/x.py"))


@given(st.integers(0, len(_PACKED) - 1), st.integers(0, 255))
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, at: int, byte: int) -> None:
    data = bytearray(_PACKED)
    data[at] = byte
    top = tmp_path_factory.mktemp("there")
    with contextlib.suppress(CodeError):
        unpack_code(bytes(data), hash_of(bytes(data)), top / "code")
    assert {path.name for path in top.iterdir()} <= {"code"}
