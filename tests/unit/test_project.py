"""flow.toml, the sources of a project, and the loader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flowc.catalog import Findings
from flowc.project import Loader, Project, discover, find_project
from flowc.project_file import read_project_file


def project(root: Path, toml: str | None = None, *files: str) -> Project:
    if toml is not None:
        (root / "flow.toml").write_text(toml)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return find_project(root)


def told(found: Project) -> list[tuple[str, int, int, str]]:
    """name, line, column and message of each finding."""
    assert found.file is not None
    places = [(finding, found.file.position(finding.span.start)) for finding in found.findings]
    return [(finding.name, place.line, place.column, finding.message) for finding, place in places]


# ---- finding and reading --------------------------------------------------------------------------------------------


def test_without_a_file_the_folder_is_the_project(tmp_path: Path) -> None:
    found = project(tmp_path)
    assert (found.root, found.name, found.sources, found.python, found.main) == (
        tmp_path,
        tmp_path.name,
        (".",),
        (".",),
        None,
    )
    assert found.file is None


def test_the_nearest_file_upward_wins(tmp_path: Path) -> None:
    project(tmp_path, "[project]\nname = 'outer'\n", "a/b/c.flow")
    (tmp_path / "a" / "flow.toml").write_text("[project]\nname = 'inner'\n")
    assert find_project(tmp_path / "a" / "b" / "c.flow").name == "inner"
    assert find_project(tmp_path / "a" / "b").root == tmp_path / "a"
    assert find_project(tmp_path).name == "outer"


def test_everything_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    found = project(
        tmp_path,
        "[project]\nname = 'shop'\nsources = ['flows']\nmain = 'nightly'\npython = ['src', 'lib']\n"
        "[defaults]\ntimeout = '5m'\nretry = { max = 2 }\n",
    )
    assert (found.name, found.sources, found.main) == ("shop", ("flows",), "nightly")
    assert found.python_roots == (tmp_path / "src", tmp_path / "lib")
    assert found.defaults == {"timeout": "5m", "retry": {"max": 2}}
    assert found.findings == ()


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        ("[project]\nnaem = 'x'\n", ("unknown-project-key", 2, 1, "flow.toml has no key `naem` in `[project]`")),
        ("[projct]\n", ("unknown-project-key", 1, 2, "flow.toml has no key `projct`")),
        ("name = 'x'\n", ("unknown-project-key", 1, 1, "flow.toml has no key `name`")),
        (
            "[env.prod]\nnast = 'x'\n",
            ("unknown-project-key", 2, 1, "flow.toml has no key `nast` in `[env.prod]`"),
        ),
        ("[env]\nnats = 'x'\n", ("unknown-project-key", 2, 1, "flow.toml has no key `nats` in `[env]`")),
        (
            "[env.prod]\nconfirm = 1\n",
            ("bad-project-value", 2, 1, "`confirm` in flow.toml must be a boolean, not a number"),
        ),
        ("[project]\nname = 3\n", ("bad-project-value", 2, 1, "`name` in flow.toml must be a string, not a number")),
        (
            "[project]\n\nsources = 'x'\n",
            ("bad-project-value", 3, 1, "`sources` in flow.toml must be a list of strings, not a string"),
        ),
        (
            "[project]\npython = [1]\n",
            ("bad-project-value", 2, 1, "`python` in flow.toml must be a list of strings, not a list"),
        ),
        ("project = 1\n", ("bad-project-value", 1, 1, "`project` in flow.toml must be a table, not a number")),
        ("[project]\nsources = ['no']\n", ("missing-source-folder", 2, 1, "the source folder `no` does not exist")),
        (
            "[project\n",
            ("bad-toml", 1, 9, "flow.toml is not valid TOML: expected ']' at the end of a table declaration"),
        ),
        ("[project]\nname = \n", ("bad-toml", 2, 8, "flow.toml is not valid TOML: invalid value")),
        ("a = [1,\n", ("bad-toml", 1, 8, "flow.toml is not valid TOML: invalid value")),
    ],
)
def test_mistakes_have_their_place(tmp_path: Path, toml: str, wanted: tuple[str, int, int, str]) -> None:
    (found,) = told(project(tmp_path, toml))
    assert found[:3] == wanted[:3]
    assert found[3].startswith(wanted[3])


def test_suggestions(tmp_path: Path) -> None:
    found = project(tmp_path, "[project]\nsuorces = ['.']\n[default]\n")
    assert [finding.help for finding in found.findings] == ["did you mean `sources`?", "did you mean `defaults`?"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = '\xe9'"])
def test_what_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "flow.toml").write_bytes(content)
    (finding,) = find_project(tmp_path).findings
    assert (finding.name, "UTF-8" in finding.message) == ("bad-toml", True)


def test_keys_of_defaults_have_places(tmp_path: Path) -> None:
    found = project(tmp_path, "[project]\ntimeout = '1m'\n\n[defaults]\n  timeout = '5m'\nretry.max = 3\n")
    assert found.file is not None
    places = [found.key_span("defaults", key) for key in ("timeout", "retry")]
    assert [found.file.position(place.start).line for place in places] == [5, 6]


# ---- sources --------------------------------------------------------------------------------------------------------


def test_discover(tmp_path: Path) -> None:
    found = project(
        tmp_path,
        "",
        "b.flow",
        "a.flow",
        "sub/c.flow",
        "sub/x.txt",
        ".flow/build/d.flow",
        ".venv/e.flow",
        "node_modules/f.flow",
        "other/flow.toml",
        "other/g.flow",
    )
    assert [found.show(path) for path in discover(found)] == ["a.flow", "b.flow", "sub/c.flow"]
    assert [found.show(path) for path in discover(found, tmp_path / "sub")] == ["sub/c.flow"]


def test_discover_only_what_sources_name(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    found = project(
        tmp_path, "[project]\nsources = ['flows', 'one.flow']\n", "flows/b.flow", "one.flow", "two.flow", "x/c.flow"
    )
    assert [found.show(path) for path in discover(found)] == ["flows/b.flow", "one.flow"]


def test_paths_outside_the_project_stay_relative(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert find_project(tmp_path / "in").show(tmp_path / "out" / "a.flow") == "../out/a.flow"


# ---- loader ---------------------------------------------------------------------------------------------------------


def test_load(tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_bytes("\ufeffflow f {}\n".encode())
    findings = Findings()
    loader = Loader(find_project(tmp_path), findings)
    source = loader.load(tmp_path / "a.flow")
    assert source is not None
    assert (source.path, source.text) == ("a.flow", "flow f {}\n")
    assert loader.sources == {"a.flow": source}
    assert findings.sorted() == []


def test_overlay_stands_in_for_files(tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_text("old")
    overlay = {tmp_path / "a.flow": "new", tmp_path / "b.flow": "only here"}
    loader = Loader(find_project(tmp_path), Findings(), overlay)
    texts = [source.text for name in ("a", "b") if (source := loader.load(tmp_path / f"{name}.flow"))]
    assert texts == ["new", "only here"]
    assert loader.exists(tmp_path / "b.flow")
    assert loader.read(tmp_path / "b.flow") == b"only here"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.flow").mkdir()
    os.mkfifo(tmp_path / "pipe.flow")
    (tmp_path / "latin.flow").write_bytes(b"caf\xe9")
    findings = Findings()
    loader = Loader(find_project(tmp_path), findings)
    for name in ("none", "folder", "pipe", "latin", "nul\0", "x" * 300):
        assert loader.load(tmp_path / f"{name}.flow") is None
    told = {found.span.file[:8]: (found.name, found.message.rpartition(": ")[2]) for found in findings.sorted()}
    assert told == {
        "none.flo": ("unreadable-file", "there is no such file"),
        "folder.f": ("unreadable-file", "it is a folder"),
        "pipe.flo": ("unreadable-file", "it is no regular file"),
        "latin.fl": ("not-utf8", "byte 0xe9 in line 1, column 4"),
        "nul\0.flo": ("unreadable-file", "embedded null byte"),
        "xxxxxxxx": ("unreadable-file", "File name too long"),
    }
    assert loader.sources == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    (tmp_path / "a.flow").touch(mode=0o000)
    findings = Findings()
    assert Loader(find_project(tmp_path), findings).load(tmp_path / "a.flow") is None
    assert findings.sorted()[0].message.endswith("permission denied")


def test_the_node_table_is_checked(tmp_path: Path) -> None:
    text = '[node]\nqueues = ["media"]\nslots = "2..8"\ngrace = true\nquues = ["x"]\n'
    (tmp_path / "flow.toml").write_text(text)
    findings = Findings()
    found = read_project_file(tmp_path / "flow.toml", findings)
    assert found.node == {"queues": ["media"], "slots": "2..8"}
    assert [(one.name, one.span.start) for one in findings.sorted()] == [
        ("bad-project-value", text.index("grace")),
        ("unknown-project-key", text.index("quues")),
    ]
