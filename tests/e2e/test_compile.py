"""`flowc compile`: findings, plans, exit codes."""

from __future__ import annotations

from .conftest import HELLO, Project


def plans(project: Project) -> list[str]:
    return sorted(path.name for path in (project.folder / ".flow/build").glob("*.flowplan"))


def test_json_follows_the_schema(hello: Project) -> None:
    ended = hello.flowc("compile", "--json")
    report = ended.checked("compile")
    assert (ended.code, report["diagnostics"]) == (0, [])
    (plan,) = report["plans"]
    assert (plan["flow"], plan["file"], plan["plan"]) == ("hello", "hello.flow", ".flow/build/hello.flowplan")
    assert (hello.folder / plan["plan"]).is_file()


def test_the_same_source_gives_the_same_bytes(hello: Project) -> None:
    hello.flowc("compile")
    path = hello.folder / ".flow/build/hello.flowplan"
    first = path.read_bytes()
    hello.flowc("compile")
    assert path.read_bytes() == first


def test_errors_are_shown_with_their_place_and_leave_earlier_plans(hello: Project) -> None:
    hello.flowc("compile")
    hello.write(hello_flow=HELLO.replace("greet(name)", "gret(name)"))
    ended = hello.flowc("compile")
    assert ended.code == 2
    assert "--> hello.flow:5:10" in ended.err
    assert "did you mean `greet`?" in ended.err
    assert "Traceback" not in ended.err
    assert plans(hello) == ["hello.flowplan"]
    report = hello.flowc("compile", "--json").checked("compile")
    (error,) = (found for found in report["diagnostics"] if found["severity"] == "error")
    assert (error["line"], error["column"], error["name"]) == (5, 10, "unknown-name")
    assert report["plans"] == []


def test_the_plan_of_a_removed_flow_goes(hello: Project) -> None:
    hello.write(other_flow="flow other() returns int { return 1 }\n")
    hello.flowc("compile")
    assert plans(hello) == ["hello.flowplan", "other.flowplan"]
    (hello.folder / "other.flow").unlink()
    hello.flowc("compile")
    assert plans(hello) == ["hello.flowplan"]


def test_places_are_relative_to_where_the_user_stands(hello: Project) -> None:
    (hello.folder / "sub").mkdir()
    hello.write(flow_toml="[project]\nname = 'x'\n", hello_flow="flow main() { nothing() }\n")
    ended = Project(hello.folder / "sub").flowc("compile", "../hello.flow")
    assert "--> ../hello.flow:1:15" in ended.err


def test_a_folder_with_several_projects(project: Project) -> None:
    for name in ("one", "two"):
        folder = project.folder / name
        folder.mkdir()
        Project(folder).write(
            flow_toml=f"[project]\nname = '{name}'\n", main_flow="flow main() returns int { return 1 }\n"
        )
    report = project.flowc("compile", ".", "--json").checked("compile")
    assert [plan["plan"] for plan in report["plans"]] == [
        "one/.flow/build/main.flowplan", "two/.flow/build/main.flowplan",
    ]  # fmt: skip


def test_a_folder_without_sources(project: Project) -> None:
    ended = project.flowc("compile")
    assert ended.code == 2
    assert ended.is_one_message()


def test_output_into_a_closed_pipe_gives_no_traceback(hello: Project) -> None:
    with hello.start("compile", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(30) in (0, 1)
        assert "Traceback" not in process.stderr.read()
