"""Modules, imports and names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flowc import packages
from flowc.catalog import Findings
from flowc.project import Loader, find_project
from flowc.resolve import Module, resolve
from flowc.types import text


class Program:
    """A project made of the given files, resolved from `main.flow`."""

    def __init__(self, root: Path, **files: str) -> None:
        for name, content in files.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.findings = Findings()
        self.loader = Loader(find_project(root), self.findings)
        self.modules = {module.path: module for module in resolve([root / "main.flow"], self.loader, self.findings)}

    @property
    def main(self) -> Module:
        return self.modules["main.flow"]

    @property
    def told(self) -> list[tuple[str, str]]:
        """The name of each finding and the text that it marks."""
        return [
            (found.name, self.loader.sources[found.span.file].text[found.span.start : found.span.end])
            for found in self.findings.sorted()
        ]

    @property
    def helps(self) -> list[str]:
        return [found.help for found in self.findings.sorted()]


TASK = 'task {}(x: int) {{ run: shell("echo ${{x}}") }}\n'


def task(*names: str) -> str:
    return "".join(TASK.format(name) for name in names)


def flow(body: str) -> str:
    return f"flow main_flow {{ {body} }}\n"


# ---- declarations ---------------------------------------------------------------------------------------------------


def test_declarations_are_symbols(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow="type T = int\nlet a = 1\nvar b: int = 1\npool p { slots: 1 }\nqueue q { priority: 1 }\n"
        "limit l { rate: 1, per: 1m }\nconnection c: sqlite { path: 'x' }\nsla s { finish: 2h }\n".replace("'", '"')
        + task("t")
        + "chain k(x: int) = t(x) -> t\nflow f { t(1) }\n",
    )
    kinds = {name: symbol.kind for name, symbol in program.main.names.items()}
    assert kinds == {
        "T": "type",
        "a": "let",
        "b": "var",
        "p": "pool",
        "q": "queue",
        "l": "limit",
        "c": "connection",
        "s": "sla",
        "t": "task",
        "k": "composite",
        "f": "flow",
    }
    symbol = program.main.names["t"]
    assert (symbol.key, symbol.name, symbol.module) == ("main.flow:t", "t", program.main)
    assert symbol.node in program.main.file.declarations
    assert program.told == []


def test_two_of_one_name(tmp_path: Path) -> None:
    program = Program(tmp_path, main_dot_flow="pool api { slots: 2 }\nqueue api { priority: 3 }\n" + flow(""))
    assert program.told == [("duplicate-name", "api")]
    (found,) = program.findings.sorted()
    assert found.message == "`api` is already declared on line 1"
    assert (found.span.start, found.labels[0].span.start) == (28, 5)
    assert program.main.names["api"].kind == "pool"


@pytest.mark.parametrize(
    ("declaration", "name", "is_told"),
    [
        (task("len"), "len", True),
        ("let chunk = 1\n", "chunk", True),
        ("type int = string\n", "int", True),
        ("type list = string\n", "list", True),
        ("let run = 1\n", "run", True),
        ("type len = string\n", "len", False),
        (task("list"), "list", False),
    ],
)
def test_names_of_the_language(tmp_path: Path, declaration: str, name: str, is_told: bool) -> None:
    program = Program(tmp_path, main_dot_flow=declaration)
    assert program.told == ([("shadows-builtin", name)] if is_told else [])


def test_unknown_kind_of_resource(tmp_path: Path) -> None:
    program = Program(tmp_path, main_dot_flow="pol p { slots: 2 }\n")
    assert program.told == [("unknown-name", "pol")]
    assert program.helps == ["did you mean `pool`?"]
    assert program.main.broken == {"p"}


# ---- other files ----------------------------------------------------------------------------------------------------


def test_imports_are_the_same_symbol_everywhere(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "lib/a.flow" { a }\nuse "lib/b.flow" { b }\n' + flow("a(1)\n b(1)"),
        lib__a_dot_flow=task("a"),
        lib__b_dot_flow='use "a.flow" { a }\n' + task("c") + "chain b(x: int) = a(x) -> c\n",
    )
    assert program.told == []
    assert list(program.modules) == ["main.flow", "lib/a.flow", "lib/b.flow"]
    assert program.main.names["a"] is program.modules["lib/b.flow"].names["a"]
    assert program.main.names["a"].key == "lib/a.flow:a"


def test_files_may_use_each_other(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "b.flow" { b }\n' + task("a") + "flow f { b(1) }\n",
        b_dot_flow='use "main.flow" { a }\nuse "b.flow" { c }\nchain b(x: int) = a(x) -> c\n' + task("c"),
    )
    assert set(program.main.names) == {"b", "a", "f"}
    assert program.told == [("duplicate-name", "c")]


def test_what_a_file_imports_is_not_handed_on(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "b.flow" { a }\n' + flow("a(1)"),
        b_dot_flow='use "a.flow" { a }\n' + flow("a(1)"),
        a_dot_flow=task("a"),
    )
    assert program.told == [("unknown-import", "a")]
    assert program.helps == ["import it from `a.flow`, which declares it"]
    assert program.main.broken == {"a"}


@pytest.mark.parametrize(
    ("use", "help"),
    [
        ('use "b.flo" { x }', "did you mean `b.flow`?"),
        ('use "b" { x }', "did you mean `b.flow`?"),
        ('use "lib/warehuose.flow" { x }', "did you mean `lib/warehouse.flow`?"),
        ('use "lib/x.flow" { x }', "paths are relative to this file; that folder has `warehouse.flow`"),
        ('use "no/x.flow" { x }', "there is no folder `no`; paths are relative to this file"),
        ('use "" { x }', "`use` takes `.flow` and `.py` files, and modules as `std.http`"),
        ('use "lib" { x }', "`use` takes `.flow` and `.py` files, and modules as `std.http`"),
        ("use stdd.http { x }", "did you mean `std`?"),
        ("use acme.http { x }", "install the package that provides `acme`"),
    ],
)
def test_modules_that_are_not_there(tmp_path: Path, use: str, help: str) -> None:
    program = Program(
        tmp_path, main_dot_flow=use + "\n" + flow("x(1)"), b_dot_flow=task("x"), lib__warehouse_dot_flow=task("x")
    )
    assert program.told == [("unknown-module", use.split()[1])]
    assert program.helps == [help]
    assert program.main.broken == {"x"}


def test_names_that_are_not_there(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "b.flow" { lod, zzzzz }\n' + flow("lod(1)\n zzzzz(1)"),
        b_dot_flow=task("load", "save"),
    )
    assert program.told == [("unknown-import", "lod"), ("unknown-import", "zzzzz")]
    assert program.helps == ["did you mean `load`?", "`b.flow` declares `load`, `save`"]


def test_unused_imports(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "b.flow" { a, b, T, p, q, unused }\ntask t(x: list<T>) { run: shell("x"), pool: p }\n'
        + flow('x = "${a(1)}"\n [1] -> b with { queue: q }'),
        b_dot_flow=task("a", "b", "unused") + "type T = int\npool p { slots: 1 }\nqueue q { priority: 1 }\n",
    )
    assert program.told == [("unused-import", "unused")]


def test_imported_twice(tmp_path: Path) -> None:
    program = Program(
        tmp_path, main_dot_flow='use "b.flow" { a }\nuse "b.flow" { a }\n' + flow("a(1)"), b_dot_flow=task("a")
    )
    assert program.told == [("duplicate-name", "a")]
    assert program.findings.sorted()[0].message == "`a` is already imported on line 1"


def test_a_broken_declaration_is_reported_once(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "b.flow" { a, b }\n' + flow("a(1)\n b(1)"),
        b_dot_flow="task a(x: { run: 1 }\n\n" + task("b"),
    )
    assert "unknown-import" not in dict(program.told)
    assert program.main.broken == {"a"}
    assert program.main.names["b"].kind == "task"


def test_a_file_that_cannot_be_read_breaks_its_names_only(tmp_path: Path) -> None:
    (tmp_path / "b.flow").write_bytes(b"\x00")
    program = Program(tmp_path, main_dot_flow='use "b.flow" { a }\n' + flow("a(1)"))
    assert [found.name for found in program.findings.sorted()] == ["binary-file"]
    assert program.main.broken == {"a"}


# ---- Python files ---------------------------------------------------------------------------------------------------

TASKS_PY = """
from dataclasses import dataclass
from flowrun.operator import task

@dataclass
class Report:
    rows: int

@task(timeout=LIMIT)
def slow(): ...

def build(report: Report, title: str = "x") -> Report: ...
"""


def test_python_functions_and_classes(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "jobs/tasks.py" { build, Report }\nuse "lib/b.flow" { f }\n'
        'task t(x: Report) { run: shell("x") }\n' + flow("build(1)\n f()"),
        lib__b_dot_flow='use "../jobs/tasks.py" { build }\nflow f { build(1) }\n',
        jobs__tasks_dot_py=TASKS_PY,
    )
    assert program.told == []
    build, report = program.main.names["build"], program.main.names["Report"]
    assert (build.kind, build.key, build.node) == ("task", "jobs/tasks.py:build", None)
    assert build.python is not None
    assert build.python.target == "jobs/tasks.py:build"
    assert [param.name for param in build.python.params] == ["report", "title"]
    assert (report.kind, report.type and text(report.type)) == ("type", "{ rows: int }")
    assert program.modules["lib/b.flow"].names["build"] is build


def test_mistakes_with_python_files(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main_dot_flow='use "tasks.py" { biuld, slow }\nuse "bad.py" { f, g }\n' + flow("biuld()\n slow()\n f()\n g()"),
        tasks_dot_py=TASKS_PY,
        bad_dot_py="x = 1\ndef f(:\n",
    )
    assert program.told == [
        ("unknown-import", "biuld"),
        ("python-setting-not-literal", "slow"),
        ("python-syntax", '"bad.py"'),
    ]
    messages = [found.message for found in program.findings.sorted()]
    assert messages[1] == "`timeout` in `@task` of `slow` is not a literal (tasks.py, line 10)"
    assert messages[2] == "`bad.py` is not valid Python: invalid syntax (line 2)"
    assert program.helps[0] == "did you mean `build`?"
    assert program.main.broken == {"biuld", "f", "g"}


def test_targets_of_python_are_found_under_the_roots(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        flow_dot_toml="[project]\npython = ['src']\n",
        main_dot_flow=flow(""),
        src__etl__clean_dot_py="def main(n: int): ...\n",
    )
    found = program.main.python.function("etl.clean:main")
    assert found is not None
    assert found.file == "src/etl/clean.py"


# ---- operator packages ----------------------------------------------------------------------------------------------


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed operator package `acme`, whose Python code must not run."""
    site = tmp_path / "site"
    package = site / "acme_operators"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "mail.flow").write_text(
        'use "mail.py" { send }\nuse "parts/base.flow" { base }\n'
        + task("notify")
        + "chain both(x: int) = base(x) -> send\n"
    )
    (package / "mail.py").write_text("def send(x: int) -> int: ...\n")
    (package / "parts").mkdir()
    (package / "parts" / "base.flow").write_text(task("base"))
    info = site / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flow.modules]\nacme = acme_operators\n")
    monkeypatch.syspath_prepend(site)
    packages._installed.cache_clear()
    yield package
    packages._installed.cache_clear()


def test_third_party_packages(acme: Path, tmp_path: Path) -> None:
    program = Program(tmp_path / "p", main_dot_flow="use acme.mail { notify, both }\n" + flow("notify(1)\n both(1)"))
    assert program.told == []
    assert list(program.modules) == ["main.flow", "acme.mail", "acme.parts.base"]
    assert program.main.names["notify"].key == "acme.mail:notify"
    send = program.modules["acme.mail"].names["send"]
    assert send.python is not None
    assert (send.key, send.python.target) == ("acme_operators.mail:send", "acme_operators.mail:send")


def test_modules_of_packages_that_are_not_there(acme: Path, tmp_path: Path) -> None:
    program = Program(tmp_path / "p", main_dot_flow="use acme.mial { x }\nuse acme { y }\n" + flow("x(1)\n y(1)"))
    assert program.told == [("unknown-module", "acme.mial"), ("unknown-module", "acme")]
    assert program.helps == ["did you mean `acme.mail`?", "the package has `acme.mail`, `acme.parts.base`"]
