"""What of a project is packed, and that the same files are the same bytes."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
from flowrun.code import packing
from flowrun.code.layout import INFO, CodeError, CodeInfo, hash_of
from flowrun.code.packing import pack_code


def write(root: Path, **files: str) -> Path:
    """Files by name, `__` for a slash and `_dot_` for a point."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def info(data: bytes) -> CodeInfo:
    return msgspec.json.decode(members(data)[INFO], type=CodeInfo)


def test_code_and_data_are_packed_and_what_is_never_code_is_not(tmp_path: Path) -> None:
    write(
        tmp_path, tasks_dot_py="1", shop__mail_dot_py="2", shop__query_dot_sql="3", a_dot_flow="4", flow_dot_toml="",
        _dot_env="secret", _dot_git__config="", __pycache__x_dot_pyc="", node_modules__x_dot_js="", sign_dot_key="s",
        venv__pyvenv_dot_cfg="", venv__lib_dot_py="",
    )  # fmt: skip
    (tmp_path / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / "__pycache__" / "tasks.cpython-311.pyc").write_text("x")
    packed = pack_code(tmp_path)
    names = [INFO, "shop/mail.py", "shop/query.sql", "tasks.py"]
    assert list(members(packed.data)) == [name for name in names if name in members(packed.data)]
    assert set(members(packed.data)) == set(names)
    assert packed.digest == hash_of(packed.data)
    assert packed.files == 3
    assert packed.dependencies == ""


def test_ignore_files_count_and_the_last_word_has_flowignore(tmp_path: Path) -> None:
    write(
        tmp_path, _dot_gitignore="data/\n*.log\nkept.csv\n", _dot_flowignore="tests/\n!kept.csv\n!.hidden\n",
        data__big_dot_csv="", a_dot_log="", kept_dot_csv="", tests__test_x_dot_py="", _dot_hidden="", sub__x_dot_tmp="",
        sub___dot_gitignore="*.tmp\n/only.py\n", sub__only_dot_py="", only_dot_py="", x_dot_tmp="",
    )  # fmt: skip
    assert set(members(pack_code(tmp_path).data)) == {INFO, ".hidden", "kept.csv", "only.py", "x.tmp"}


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    files = {f"m{n}_dot_py": str(n) for n in range(20)} | {"pkg__é_dot_py": "é"}
    one = write(tmp_path / "one", **files)
    two = write(tmp_path / "two", **dict(random.Random(1).sample([*files.items()], len(files))))
    os.utime(two / "m3.py", (1, 1))
    (two / "m4.py").chmod(0o600)
    assert pack_code(one).data == pack_code(two).data
    (two / "m4.py").chmod(0o755)
    assert pack_code(one).digest != pack_code(two).digest  # who may be executed is content, too


def test_another_interpreter_packs_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path, tasks_dot_py="x = 1")
    code = "import sys, pathlib, flowrun.code.packing as p; print(p.pack_code(pathlib.Path(sys.argv[1])).digest)"
    env = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert said.strip() == pack_code(tmp_path).digest


def test_python_folders_are_those_of_the_project(tmp_path: Path) -> None:
    write(tmp_path, src__tasks_dot_py="")
    assert info(pack_code(tmp_path, ["src", "./lib/"]).data).python == ("src", "lib")
    with pytest.raises(CodeError, match=r"names \.\./shared, which lies outside of the project"):
        pack_code(tmp_path, ["../shared"])


def test_links_stay_inside(tmp_path: Path) -> None:
    root = write(tmp_path / "project", tasks_dot_py="1", pkg__x_dot_py="")
    (root / "same.py").symlink_to("tasks.py")
    assert members(pack_code(root).data)["same.py"] == b"1"
    (tmp_path / "outside.py").write_text("")
    (root / "out.py").symlink_to(tmp_path / "outside.py")
    with pytest.raises(CodeError, match=r"out\.py is a link out of the project .*\.flowignore"):
        pack_code(root)
    (root / ".flowignore").write_text("out.py\n")
    (root / "more").symlink_to("pkg")
    with pytest.raises(CodeError, match="more is a link to a folder"):
        pack_code(root)
    (root / ".flowignore").write_text("out.py\nmore/\n")
    (root / "broken").symlink_to("nowhere")
    with pytest.raises(CodeError, match="broken is a link that leads nowhere"):
        pack_code(root)


def test_what_is_no_file_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, tasks_dot_py="")
    os.mkfifo(tmp_path / "pipe")
    assert set(members(pack_code(tmp_path).data)) == {INFO, "tasks.py"}


def test_too_much_is_refused_and_the_largest_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a_dot_py="x" * 10)
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(CodeError, match=r"too large.*100\.0 MiB, and 20,000 files and 64\.0 MiB.*model\.bin"):
        pack_code(tmp_path)
    (tmp_path / "model.bin").unlink()
    monkeypatch.setattr(packing, "MOST_FILES", 3)
    write(tmp_path, b_dot_py="", c_dot_py="", d_dot_py="")
    with pytest.raises(CodeError, match="at least 4 files"):
        pack_code(tmp_path)


@pytest.mark.parametrize("name", ["a\\b.py", "a\nb.py", b"\xff.py"])
def test_names_that_cannot_be_unpacked_everywhere_are_refused(tmp_path: Path, name: str | bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(CodeError, match=r"rename it"):
        pack_code(tmp_path)
