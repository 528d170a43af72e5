"""`flowc run`: results, output, exit codes, and what is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Project


def test_a_file_runs_and_its_result_is_printed(hello: Project) -> None:
    ended = hello.flowc("run", "hello.flow")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("run r")
    assert lines[0].endswith(": hello started")
    assert any(line.startswith("greet: success (") for line in lines)
    assert lines[-2].startswith("✓ hello: success (")
    assert lines[-1] == "hello world"


def test_quiet_prints_the_result_only(hello: Project) -> None:
    assert hello.flowc("run", "hello.flow", "-q", "-p", "name=you").out == "hello you\n"


def test_json_follows_the_schema(hello: Project) -> None:
    ended = hello.flowc("run", "hello.flow", "--json")
    report = ended.checked("run")
    assert (ended.code, ended.err, report["state"], report["result"]) == (0, "", "success", "hello world")
    (step,) = report["steps"]
    assert (step["step"], step["index"], step["state"], step["attempts"]) == ("greet", None, "success", 1)


def test_steps_are_named_and_items_counted(project: Project) -> None:
    project.write(
        main_flow="""
            use "tasks.py" { half }
            flow main() returns list<int> {
              half(2)
              half(4)
              xs = each i in [2, 4] { return half(i) }
              if len(xs) > 5 { half(6) }
              return xs
            }
        """,
        tasks_py="def half(x: int) -> int: return x // 2",
    )
    report = project.flowc("run", "main.flow", "--json").checked("run")
    assert report["result"] == [1, 2]
    states = {(step["step"], step["index"]): step["state"] for step in report["steps"]}
    assert states["half", None] == states["half#2", None] == states["xs", None] == "success"
    assert sorted(index for (_, index) in states if index is not None) == [0, 1]
    assert "skipped" in states.values()


def test_every_kind_of_value_has_its_json_form(project: Project) -> None:
    project.write(
        main_flow="""
            use "tasks.py" { facts, large }
            flow main() returns { facts: json, size: int, text: string } {
              text = large()
              return { facts: facts(), size: len(text), text: text }
            }
        """,
        tasks_py="""
            import datetime, decimal
            def facts() -> dict[str, object]:
                return {"day": datetime.date(2026, 1, 31), "money": decimal.Decimal("1.50"),
                        "wait": datetime.timedelta(minutes=5), "raw": b"hi", "none": None}
            def large() -> str:
                return "x" * 100_000
        """,
    )
    result = project.flowc("run", "main.flow", "--json").checked("run")["result"]
    assert result["facts"] == {"day": "2026-01-31", "money": "1.50", "wait": "PT300S", "raw": "aGk=", "none": None}
    assert result["size"] == len(result["text"]) == 100_000


FAILING = {
    "main_flow": """
        use "tasks.py" { boom }
        flow main() returns int {
          x = boom() with { retry: { max: 1, backoff: fixed(300ms) } }
          return x
        }
    """,
    "tasks_py": "def boom() -> int:\n    raise ValueError('out of luck')\n",
}


def test_a_failed_run_says_what_failed_where(project: Project) -> None:
    ended = project.write(**FAILING).flowc("run", "main.flow")
    assert ended.code == 1
    assert "error: ValueError: out of luck" in ended.out
    assert "--> main.flow:4 (step x, attempt 2)" in ended.out
    assert "raise ValueError" in ended.out  # the user's own frame
    assert "Traceback" not in ended.out
    assert "x: retrying, attempt 2 follows" in ended.out


def test_a_failed_run_prints_its_json_too(project: Project) -> None:
    ended = project.write(**FAILING).flowc("run", "main.flow", "--json")
    report = ended.checked("run")
    assert (ended.code, report["state"], report["result"]) == (1, "failed", None)
    assert report["error"] == {
        "type": "ValueError", "message": "out of luck", "step": "x", "file": "main.flow", "line": 4,
    }  # fmt: skip
    assert report["steps"][0]["error"] == {"type": "ValueError", "message": "out of luck"}


def test_diagnostics_and_wrong_input_are_json_too(hello: Project) -> None:
    hello.write(bad_flow="flow main() { nothing() }")
    ended = hello.flowc("run", "bad.flow", "--json")
    assert ended.code == 2
    assert ended.checked("run")["diagnostics"][0]["name"] == "unknown-name"
    ended = hello.flowc("run", "hello.flow", "--json", "-p", "nam=x")
    assert ended.code == 2
    assert "did you mean `name`" in ended.checked("run")["error"]["message"]


TWO = """
use "tasks.py" { greet }
flow inner(name: string) returns string { return greet(name) }
flow outer() returns string { return inner("inside") }
"""


def test_the_flow_that_no_other_calls_is_the_main_one(hello: Project) -> None:
    hello.write(two_flow=TWO)
    assert hello.flowc("run", "two.flow", "-q").out == "hello inside\n"
    assert hello.flowc("run", "two.flow", "-q", "--flow", "inner", "-p", "name=x").out == "hello x\n"


def test_several_flows_ask_for_a_choice(hello: Project) -> None:
    hello.write(two_flow=TWO + "flow other() {}\n")
    ended = hello.flowc("run", "two.flow")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "--flow" in ended.err
    assert "`other`" in ended.err
    assert "`outer`" in ended.err
    ended = hello.flowc("run", "two.flow", "--flow", "othr")
    assert ended.code == 2
    assert "did you mean `other`?" in ended.err


def imported(project: Project, *args: str) -> set[str]:
    """The modules that a command imports in its own process."""
    ended = project.flowc(*args, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0
    return {line.rpartition("|")[2].strip() for line in ended.err.splitlines() if line.startswith("import time:")}


def test_a_project_needs_no_arguments_and_compiles_only_what_changed(hello: Project) -> None:
    hello.write(flow_toml="[project]\nname = 'x'\n")
    assert hello.flowc("compile").code == 0
    assert hello.flowc("run", "-q").out == "hello world\n"
    assert not {"lark", "pydantic", "flowc.parse"} & imported(hello, "run", "-q")
    (hello.folder / "tasks.py").write_text("def greet(name: str) -> str:\n    return 'bye ' + name\n")
    assert hello.flowc("run", "-q").out == "bye world\n"
    assert "flowc.parse" in imported(hello, "run", "-q")


def test_main_of_flow_toml_is_run(hello: Project) -> None:
    hello.write(two_flow=TWO, flow_toml="[project]\nmain = 'hello'\n")
    assert hello.flowc("run", "-q").out == "hello world\n"
    hello.write(flow_toml="[project]\nmain = 'gone'\n")
    assert hello.flowc("run", "-q").code == 2


def test_a_plan_runs_from_anywhere_without_the_compiler(hello: Project, tmp_path: Path) -> None:
    assert hello.flowc("compile", "hello.flow").code == 0
    plan = str(hello.folder / ".flow/build/hello.flowplan")
    assert not {"lark", "pydantic", "flowc.parse", "flowc.project"} & imported(hello, "run", "-q", plan)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert Project(elsewhere).flowc("run", "-q", plan).out == "hello world\n"
    assert list(elsewhere.iterdir()) == []


def test_an_earlier_result_can_be_had_again(hello: Project) -> None:
    first = hello.flowc("run", "hello.flow", "--json").json
    again = hello.flowc("run", "--resume", first["run"], "--json").json
    assert again == first
    assert hello.flowc("run", "--resume", "last", "-q").out == "hello world\n"


def test_nothing_is_left_behind(hello: Project) -> None:
    """No process, no lock that holds up the next run; the folder keeps its small files."""
    hello.flowc("run", "hello.flow", "-q")
    assert hello.processes_end()
    assert {path.name for path in (hello.folder / ".flow").iterdir()} >= {"runs", "store"}


@pytest.mark.parametrize(
    "args", [["--help"], ["run", "--help"], ["compile", "-h"], ["--version"], ["explain", "FL0201"]]
)
def test_help_version_and_explanations(project: Project, args: list[str]) -> None:
    ended = project.flowc(*args)
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out) > 5


def test_help_imports_only_what_it_needs(project: Project) -> None:
    modules = imported(project, "--help")
    assert "click" in modules
    assert not {"asyncio", "msgspec", "rich", "lark", "pydantic", "flowc.plan", "nats"} & modules
