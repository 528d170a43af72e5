"""Which file says what a project needs, and what the hash of it covers."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowrun.code.dependencies import without_us
from flowrun.code.layout import GENERATED, CodeError
from flowrun.code.packing import pack_code

from tests.unit.code.test_packing import info, members, write


def environment(root: Path) -> str:
    return info(pack_code(root).data).environment


def test_requirements_come_first(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml='[project]\ndependencies = ["requests>=2"]\n')
    packed = pack_code(tmp_path)
    assert packed.dependencies == "pyproject.toml"
    assert info(packed.data).requirements == GENERATED
    assert members(packed.data)[GENERATED] == b"requests>=2\n"
    write(tmp_path, requirements_dot_txt="httpx==1.0  # pinned\n")
    packed = pack_code(tmp_path)
    assert packed.dependencies == info(packed.data).requirements == "requirements.txt"


@pytest.mark.parametrize(
    "files",
    [
        {"requirements_dot_txt": "# nothing\n\n"},
        {"requirements_dot_txt": "flowc>=0.1\nFlowc[duckdb] ; python_version > '3'\n"},
        {"pyproject_dot_toml": "[tool.ruff]\nline-length = 120\n"},
        {"pyproject_dot_toml": '[project]\nname = "x"\ndependencies = ["flowc"]\n'},
    ],
)
def test_what_a_node_has_anyway_needs_no_environment(tmp_path: Path, files: dict[str, str]) -> None:
    assert environment(write(tmp_path, **files)) == ""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a==1\nflowc\nb", "a==1\nb"),
        ("flowc==0.1.0 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nb==1 \\\n    --hash=sha256:3\n",
         "b==1 \\\n    --hash=sha256:3\n"),
        ("  Flowc[duckdb]>=0.1 ; python_version > '3'  # us\n", ""),
        ("flowc @ file:./x.whl\n", ""),
        ("flowc-extra==1\nflowcharts\nmy-flowc\n", "flowc-extra==1\nflowcharts\nmy-flowc\n"),
        ("# flowc\na # flowc\n", "# flowc\na # flowc\n"),
    ],
)  # fmt: skip
def test_lines_that_ask_for_flowc_are_left_out(text: str, left: str) -> None:
    assert without_us(text) == left


def test_equal_dependencies_have_an_equal_hash_whatever_the_code(tmp_path: Path) -> None:
    one = write(tmp_path / "one", requirements_dot_txt="httpx==1.0\n", tasks_dot_py="1")
    two = write(tmp_path / "two", requirements_dot_txt="# why\nhttpx==1.0  # here\n", tasks_dot_py="2")
    assert environment(one) == environment(two) != ""
    write(two, requirements_dot_txt="httpx==1.1\n")
    assert environment(one) != environment(two)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("-r base.txt", "base_dot_txt"),
        ("--requirement=base.txt", "base_dot_txt"),
        ("--find-links wheels", "wheels__x-1-py3-none-any_dot_whl"),
        ("./lib", "lib__setup_dot_py"),
        ("wheels/x-1-py3-none-any.whl", "wheels__x-1-py3-none-any_dot_whl"),
    ],
)
def test_files_of_the_project_that_they_name_are_in_the_hash(tmp_path: Path, line: str, file: str) -> None:
    root = write(tmp_path, requirements_dot_txt=f"{line}\n", **{file: "one"})
    before = environment(root)
    write(root, other_dot_py="not named")
    assert environment(root) == before
    write(root, **{file: "two"})
    assert environment(root) != before


def test_files_that_name_each_other_end(tmp_path: Path) -> None:
    root = write(
        tmp_path, requirements_dot_txt="-r more/a.txt\n", more__a_dot_txt="-r b.txt\nx\n", more__b_dot_txt="-r a.txt\ny"
    )
    before = environment(root)
    write(root, more__b_dot_txt="-r a.txt\nz")
    assert environment(root) != before


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"requirements_dot_txt": "-e .\n"}, r"requirements\.txt has the line `-e \.`: what is installed for editing"),
        ({"pyproject_dot_toml": "[project\n"}, r"pyproject\.toml cannot be read"),
        ({"pyproject_dot_toml": '[project]\ndynamic = ["dependencies"]\n'}, "write them into requirements.txt"),
        ({"pyproject_dot_toml": '[project]\ndependencies = "requests"\n'}, "is no list of lines"),
        ({"pyproject_dot_toml": "project = 3\n"}, "`project` is no table"),
    ],
)
def test_what_cannot_be_deployed_is_told(tmp_path: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(CodeError, match=why):
        pack_code(write(tmp_path, **files))


def test_text_that_is_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"httpx\xff")
    with pytest.raises(CodeError, match=r"requirements\.txt is not UTF-8 text \(byte 5\)"):
        pack_code(tmp_path)


def test_a_lock_is_read_by_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "project", pyproject_dot_toml="[project]\n", uv_dot_lock="version = 1\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(CodeError, match=r"`uv` is not on PATH to read it"):
        pack_code(root)
    uv = tools / "uv"
    uv.write_text('#!/bin/sh\ncase "$*" in "export --frozen"*) echo "httpx==1.0 ; python_version > \'3\'";; esac\n')
    uv.chmod(0o755)
    packed = pack_code(root)
    assert packed.dependencies == "uv.lock"
    assert members(packed.data)[GENERATED] == b"httpx==1.0 ; python_version > '3'\n"
    uv.write_text("#!/bin/sh\necho 'the lock is older than pyproject.toml' >&2; exit 2\n")
    with pytest.raises(CodeError, match="the lock is older"):
        pack_code(root)
