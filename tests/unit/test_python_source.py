"""Signatures of Python functions, read without importing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from flowc.python_source import PythonFiles, PythonFunction
from flowc.types import text

Files = dict[str, str]


def read(root: Path, files: Files) -> PythonFiles:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)

    def bytes_of(path: Path) -> bytes | None:
        return path.read_bytes() if path.is_file() else None

    return PythonFiles(bytes_of, (root,), lambda path: path.relative_to(root).as_posix())


def function(root: Path, source: str, name: str = "f") -> PythonFunction:
    found = read(root, {"m.py": source}).function(f"m:{name}")
    assert found is not None
    return found


HEADER = """
from __future__ import annotations
import datetime, decimal, typing as t
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union
from flowrun.operator import Context, task

@dataclass
class Base:
    id: int
    limit: t.ClassVar[int] = 3
    _hidden: str = ""

@dataclass(frozen=True)
class Row(Base):
    amount: Decimal = Decimal(0)
    tags: list[str] | None = None

class Event(TypedDict, total=False):
    on: date

class Pair(NamedTuple):
    left: int
    right: "float"

class Node(TypedDict):
    name: str
    next: Optional["Node"]

class Thing:
    x: int

Ids = list[int]
LIMIT = 5
"""


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        ("int", "int"),
        ("str", "string"),
        ("bool", "bool"),
        ("float", "float"),
        ("bytes", "bytes"),
        ("Decimal", "decimal"),
        ("decimal.Decimal", "decimal"),
        ("date", "date"),
        ("datetime.datetime", "datetime"),
        ("timedelta", "duration"),
        ("Path", "file"),
        ("Any", "json"),
        ("None", "null"),
        ("list[int]", "list<int>"),
        ("list", "list<json>"),
        ("Sequence[str]", "list<string>"),
        ("tuple[int, ...]", "list<int>"),
        ("tuple[int, str]", "list<json>"),
        ("dict[str, float]", "map<float>"),
        ("t.Dict[str, t.List[int]]", "map<list<int>>"),
        ("dict[int, str]", None),
        ("str | None", "string?"),
        ("Optional[int]", "int?"),
        ("Union[None, int]", "int?"),
        ("int | float", "float"),
        ("int | str", None),
        ('Literal["a", "b"]', '"a" | "b"'),
        ('Literal["a", None]', '("a")?'),
        ('Literal["a"] | Literal["b"]', '"a" | "b"'),
        ("Literal[1, 2]", "int"),
        ("Annotated[int, 3]", "int"),
        ('"list[Row]"', "list<{ id: int, amount: decimal, tags: list<string>? }>"),
        ("Event", "{ on: date? }"),
        ("Pair", "{ left: int, right: float }"),
        ("Node", "{ name: string, next: json }"),
        ("Ids", "list<int>"),
        ("Thing", None),
        ("LIMIT", None),
        ("Unknown", None),
        ("list[Unknown]", "list<json>"),
        ('"1 +"', None),
    ],
)
def test_annotations(tmp_path: Path, annotation: str, wanted: str | None) -> None:
    found = function(tmp_path, HEADER + f"\ndef f(x: {annotation}) -> {annotation}: ...\n")
    assert [found.params[0].type and text(found.params[0].type), found.returns and text(found.returns)] == [
        wanted,
        wanted,
    ]


def test_parameters(tmp_path: Path) -> None:
    found = function(
        tmp_path,
        HEADER + '\nasync def f(a: int, /, ctx: Context, b="x", *, c: float = LIMIT, d) -> Row:\n    "Doc."\n',
    )
    assert [(p.name, p.has_default, p.default) for p in found.params] == [
        ("a", False, None),
        ("b", True, "x"),
        ("c", True, None),
        ("d", False, None),
    ]
    assert (found.is_async, found.open_ended, found.doc, found.target) == (True, False, "Doc.", "m:f")
    assert (found.file, found.line) == ("m.py", HEADER.count("\n") + 2)


@pytest.mark.parametrize("context", ["Context", "operator.Context", '"Context"', "Context | None", "Optional[Context]"])
def test_context_is_no_parameter(tmp_path: Path, context: str) -> None:
    assert function(tmp_path, f"def f(x, context: {context} = None): ...").params[0].name == "x"
    assert len(function(tmp_path, f"def f(x, context: {context} = None): ...").params) == 1


@pytest.mark.parametrize("params", ["*args", "**kwargs", "x, *args, y=1"])
def test_open_ended(tmp_path: Path, params: str) -> None:
    assert function(tmp_path, f"def f({params}): ...").open_ended


def test_task_settings_are_literals(tmp_path: Path) -> None:
    found = function(tmp_path, '@operator.task(timeout="5m", retry={"max": 3}, queue=QUEUE)\ndef f(): ...\n')
    assert found.settings == {"timeout": "5m", "retry": {"max": 3}}
    assert found.unread == ("queue",)


def test_other_decorators_keep_the_signature(tmp_path: Path) -> None:
    found = function(tmp_path, "@task\n@retry(3)\ndef f(x: int): ...\n")
    assert [p.name for p in found.params] == ["x"]
    assert found.settings == {}


def test_definitions_inside_if_try_and_with(tmp_path: Path) -> None:
    source = "if True:\n  def a(): ...\nelse:\n  def b(): ...\ntry:\n  def c(): ...\nexcept E:\n  def d(): ...\n"
    source += "try:\n  def e(): ...\nexcept* E:\n  def f(): ...\nwith x:\n  def g(): ...\n"
    files = read(tmp_path, {"m.py": source})
    assert all(files.function(f"m:{name}") is not None for name in "abcdefg")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_type_statement(tmp_path: Path) -> None:
    found = function(tmp_path, "type Ids = list[int]\ndef f(x: Ids): ...\n").params[0].type
    assert found is not None
    assert text(found) == "list<int>"


def test_a_function_is_read_once(tmp_path: Path) -> None:
    files = read(tmp_path, {"m.py": "def f(x: int) -> int: ...\n"})
    (tmp_path / "m.py").unlink()
    assert files.function("m:f") is None
    files = read(tmp_path, {"m.py": "def f(x: int) -> int: ...\n"})
    first = files.function("m:f")
    (tmp_path / "m.py").unlink()
    assert first is not None
    assert files.function("m:f") is first


def test_imports_are_followed_near_by(tmp_path: Path) -> None:
    files = read(
        tmp_path,
        {
            "pkg/__init__.py": "from .a import f as g\n",
            "pkg/a.py": "from .types import Row\nfrom pkg.types import Row as Same\n"
            "def f(x: Row) -> Same: ...\nfrom requests import get\n",
            "pkg/types.py": "class Row(TypedDict):\n    id: int\n",
        },
    )
    found = files.function("pkg:g")
    assert found is not None
    assert (found.target, found.name, found.file) == ("pkg:g", "g", "pkg/a.py")
    assert found.params[0].type is not None
    assert found.params[0].type == found.returns
    assert text(found.params[0].type) == "{ id: int }"
    elsewhere = files.function("pkg.a:get")
    assert elsewhere is not None
    assert elsewhere.open_ended


def test_modules_that_import_each_other(tmp_path: Path) -> None:
    files = read(tmp_path, {"a.py": "from b import f\n", "b.py": "from a import f\n"})
    found = files.function("a:f")
    assert found is not None
    assert found.open_ended


def test_what_is_missing(tmp_path: Path) -> None:
    files = read(tmp_path, {"m.py": "def load(): ...\nclass C: ...\n"})
    assert files.function("m:laod") is None
    assert files.function("nowhere:f") is None
    assert files.function("m") is None
    assert files.function("../m:load") is None
    assert files.at(tmp_path / "none.py") is None
    file = files.module("m")
    assert file is not None
    assert file.names == ["load", "C"]


def test_installed_modules_are_read_without_their_parents_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "loud"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "jobs.py").write_text("def run(n: int) -> int: ...")
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = read(tmp_path, {}).function("loud.jobs:run")
    assert found is not None
    assert found.params[0].name == "n"


@pytest.mark.parametrize("target", ["math:sqrt", "sys:exit", "_json:make_encoder"])
def test_modules_without_source_are_believed(tmp_path: Path, target: str) -> None:
    found = read(tmp_path, {}).function(target)
    assert found is not None
    assert found.open_ended


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [("def f(:\n  pass", 1, "invalid syntax"), ("x = 1\n\0", 1, "null bytes"), ("x = 1\nx = (\n", 2, "never closed")],
)
def test_syntax_errors(tmp_path: Path, source: str, line: int, problem: str) -> None:
    file = read(tmp_path, {"m.py": source}).at(tmp_path / "m.py")
    assert file is not None
    assert file.error is not None
    assert file.error[0] == line
    assert problem in file.error[1]


def test_warnings_of_the_source_stay_silent(tmp_path: Path) -> None:
    assert function(tmp_path, 'P = "\\d"\ndef f(): ...').name == "f"


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    file = read(tmp_path, {"m.py": "x = " + "(" * 5000 + ")" * 5000}).at(tmp_path / "m.py")
    assert file is not None
    assert file.error is not None


def test_a_deep_annotation_is_unknown_and_no_crash(tmp_path: Path) -> None:
    assert function(tmp_path, "def f(x: " + " | ".join(["int"] * 2000) + "): ...").params[0].type is None


def test_a_file_by_path_and_by_name_has_two_kinds_of_targets(tmp_path: Path) -> None:
    files = read(tmp_path, {"jobs/m.py": "def f(): ..."})
    by_path = files.at(tmp_path / "jobs/m.py")
    assert by_path is not None
    first, second = by_path.function("f"), files.function("jobs.m:f")
    assert first is not None
    assert second is not None
    assert (first.target, second.target) == ("jobs/m.py:f", "jobs.m:f")


# ---- tasks of the canvas --------------------------------------------------------------------------------------------


def test_a_bound_task_has_no_parameter_for_itself(tmp_path: Path) -> None:
    found = function(tmp_path, "@app.task(bind=True, name='shop.f')\ndef f(self, x: int): ...\n")
    assert ([p.name for p in found.params], found.unread) == (["x"], ())
    assert found.settings == {"retry": {"max": 3, "backoff": "fixed", "first": "180000ms"}}
    for decorator in ("@app.task", "@shared_task", "@celery.shared_task(acks_late=True)"):
        assert function(tmp_path, f"{decorator}\ndef f(self, x): ...\n").settings == {}
        assert len(function(tmp_path, f"{decorator}\ndef f(self, x): ...\n").params) == 2


def test_options_of_celery_are_settings(tmp_path: Path) -> None:
    found = function(
        tmp_path,
        "@app.task(queue='math', time_limit=30, soft_time_limit=1.5, expires=None, autoretry_for=(E,), "
        "max_retries=None, retry_backoff=True, retry_jitter=False, pool='db')\ndef f(x): ...\n",
    )
    retry = {"max": 1_000_000_000, "backoff": "exponential", "first": "1000ms", "cap": "600000ms", "jitter": 0.0}
    assert found.settings == {
        "queue": "math", "timeout": "30000ms", "soft_timeout": "1500ms", "pool": "db", "retry": retry,
    }  # fmt: skip
    assert found.unread == ()
    assert function(tmp_path, "@app.task(max_retries=5)\ndef f(x): ...\n").settings == {}
    assert function(tmp_path, "@app.task(queue=Q)\ndef f(x): ...\n").unread == ("queue",)


def test_whose_task_a_decorator_is(tmp_path: Path) -> None:
    source = "from flowrun.canvas import task\n@task(bind=True, max_retries=0)\ndef f(self, x): ...\n"
    assert [p.name for p in function(tmp_path, source).params] == ["x"]
    source = "from flowrun import task\n@task(bind=True)\ndef f(self, x): ...\n"
    assert function(tmp_path, source).settings == {"bind": True}


def test_task_classes(tmp_path: Path) -> None:
    source = "class f(app.Task):\n  def run(self, x: int) -> str: ...\nclass g:\n  def run(self): ...\n"
    found = function(tmp_path, source)
    assert ([p.name for p in found.params], found.target.rpartition(":")[2], text(found.returns)) == (  # type: ignore[arg-type]
        ["x"], "f", "string",
    )  # fmt: skip
