"""std.files on a folder of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from flowrun.operator import Fail
from flowstd import files
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_text() -> None:
    assert files.write_text("a/b.txt", "größer\r\n") == "a/b.txt"
    assert Path("a/b.txt").read_bytes() == "größer\r\n".encode()
    assert [entry.name for entry in Path("a").iterdir()] == ["b.txt"]
    Path("bytes").write_bytes(b"ab\xff")
    with pytest.raises(Fail, match="no text in UTF-8: byte 2 is 0xff"):
        files.read_text("bytes")


def test_json() -> None:
    files.write_json("x.json", {"a": [1, "ü"]})
    assert files.read_json("x.json") == {"a": [1, "ü"]}
    files.write_text("x.json", '{\n"a": }')
    with pytest.raises(Fail, match="line 2, column 6"):
        files.read_json("x.json")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(st.lists(st.fixed_dictionaries({"id": CELL, "a b": CELL}), min_size=1))
def test_csv_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> None:
    path = str(tmp_path_factory.getbasetemp() / "rows.csv")
    assert files.read_csv(files.write_csv(path, list(rows), ";"), ";") == rows


def test_csv_that_is_not_regular() -> None:
    files.write_text("x.csv", "a,b\n1,2\n3\n")
    with pytest.raises(Fail, match="line 3 does not have as many values"):
        files.read_csv("x.csv", ",")
    files.write_csv("y.csv", [{"a": 1}, {"b": 2}], ",")
    assert files.read_csv("y.csv", ",") == [{"a": "1", "b": ""}, {"a": "", "b": "2"}]


def test_finding() -> None:
    for name in ("in/a.csv", "in/deep/b.csv", "in/c.txt"):
        files.write_text(name, "x")
    assert files.glob("in/**/*.csv") == ["in/a.csv", "in/deep/b.csv"]
    assert files.list_folder("in") == ["in/a.csv", "in/c.txt", "in/deep"]
    assert (files.exists("in/deep"), files.exists("absent")) == (True, False)


def test_facts() -> None:
    files.write_text("x", "content")
    assert files.file_size("x") == 7
    assert files.sha256("x") == hashlib.sha256(b"content").hexdigest()


def test_copy_move_remove(folder: Path) -> None:
    files.write_text("x", "content")
    assert files.copy("x", "in/y") == "in/y"
    assert files.move("in/y", "out/z") == "out/z"
    assert files.move("in/y", "out/z") == "out/z"
    assert files.read_text("out/z") == "content"
    with pytest.raises(FileNotFoundError):
        files.move("absent", "absent too")
    assert (files.remove("out"), files.remove("out"), files.remove("x")) == (True, False, True)
    with pytest.raises(Fail, match="project's folder"):
        files.remove(".")
    assert folder.exists()
