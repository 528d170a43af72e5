"""Each bad input gives one clear message, the right exit code and no traceback, and leaves earlier results intact."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from .conftest import Project

# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        (b"", "no flow"),
        (b"\x00\x01\x02\xff" * 100, "binary"),
        ("flow main() { } # ä".encode("latin-1"), "UTF-8"),
        (b"flow main() returns int { return " + b"(" * 10_000 + b"1" + b")" * 10_000 + b" }", "nest"),
    ],
    ids=["empty", "binary", "latin-1", "deep"],
)
def test_files_that_are_no_source(project: Project, content: bytes, phrase: str) -> None:
    (project.folder / "main.flow").write_bytes(content)
    ended = project.flowc("run", "main.flow")
    assert ended.code == 2, ended
    assert ended.is_one_message(), ended.err
    assert phrase in ended.err
    assert "main.flow" in ended.err


def test_a_file_of_50_megabytes(project: Project) -> None:
    (project.folder / "main.flow").write_bytes(b"# padding\n" * 5_000_000)
    ended = project.flowc("run", "main.flow")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "main.flow" in ended.err


@pytest.mark.parametrize("name", ["gone.flow", "gone.flowplan"])
def test_a_missing_file(project: Project, name: str) -> None:
    ended = project.flowc("run", name)
    assert ended.code == 2
    assert ended.is_one_message()
    assert "no such file" in ended.err
    assert name in ended.err


def test_a_folder_in_place_of_a_file(project: Project) -> None:
    (project.folder / "x").mkdir()
    ended = project.flowc("run", "x")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "folder" in ended.err


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_a_pipe_that_nobody_writes_to(project: Project) -> None:
    os.mkfifo(project.folder / "main.flow")
    os.mkfifo(project.folder / "main.flowplan")
    for name in ("main.flow", "main.flowplan"):
        ended = project.flowc("run", name, timeout=20)
        assert ended.code == 2
        assert ended.is_one_message()
        assert "no regular file" in ended.err


def test_no_project_here(project: Project) -> None:
    ended = project.flowc("run")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "flow.toml" in ended.err


def test_a_broken_flow_toml(hello: Project) -> None:
    hello.write(flow_toml="[project\n")
    ended = hello.flowc("run")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "flow.toml:1" in ended.err


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        (["-p", "nmae=x"], "did you mean `name`"),
        (["-p", "count=many"], "`count=42`"),
        (["-p", "name=x", "-p", "days=1,2"], "JSON"),
        (["-p", "name=x", "-p", 'days=["monday"]'], "`days[0]`"),
        (["-p", "name"], "no value"),
        (["-p", "name=a", "-p", "name=b"], "twice"),
        ([], "needs `name: string`"),
        (["-p", "name=x", "--slots", "0"], "slots"),
        (["-p", "name=x", "--flow", "mian"], "did you mean `main`"),
    ],
)
def test_parameters(project: Project, given: list[str], phrase: str) -> None:
    project.write(
        main_flow="flow main(name: string, count: int = 1, days: list<date> = []) returns string { return name }\n"
    )
    ended = project.flowc("run", "main.flow", *given)
    assert ended.code == 2, ended
    assert phrase in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


# ---- plans ----------------------------------------------------------------------------------------------------------


def damaged(content: bytes, how: str) -> bytes:
    match how:
        case "cut":
            return content[:-20]
        case "changed":
            return content[:60] + bytes([content[60] ^ 1]) + content[61:]
        case "another format":
            return b"PK\x03\x04" + content
        case "something behind it":
            return content + b"more"
        case _:
            return content[:40]


@pytest.mark.parametrize("how", ["cut", "changed", "another format", "something behind it", "head only"])
def test_a_damaged_plan(hello: Project, how: str) -> None:
    hello.flowc("compile", "hello.flow")
    path = hello.folder / ".flow/build/hello.flowplan"
    path.write_bytes(damaged(path.read_bytes(), how))
    ended = hello.flowc("run", str(path))
    assert ended.code == 2
    assert ended.is_one_message()
    assert "compile" in ended.err
    assert "hello.flowplan" in ended.err


def test_a_plan_of_a_newer_version(hello: Project) -> None:
    import msgspec
    from flowc import plan as plans

    hello.flowc("compile", "hello.flow")
    path = hello.folder / ".flow/build/hello.flowplan"
    newer = msgspec.structs.replace(plans.read_file_bytes(path.read_bytes()), version=plans.FORMAT + 1)
    path.write_bytes(plans.write_file_bytes(newer))
    ended = hello.flowc("run", str(path))
    assert ended.code == 2
    assert ended.is_one_message()
    assert "upgrade flowc" in ended.err


# ---- surroundings ---------------------------------------------------------------------------------------------------


def test_a_server_that_does_not_answer(hello: Project) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ended = hello.flowc("run", "hello.flow", "--nats", f"nats://127.0.0.1:{port}")
    assert ended.code == 2
    assert ended.is_one_message()
    assert str(port) in ended.err
    assert len(ended.err.splitlines()) == 1  # the worker says nothing of it


def test_a_server_that_is_no_nats(hello: Project) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        ended = hello.flowc("run", "hello.flow", "--nats", url)
    assert ended.code == 2
    assert ended.is_one_message()


@pytest.mark.parametrize("url", ["http://x", "nats://", "::::", "localhost:99999"])
def test_a_url_that_is_none(hello: Project, url: str) -> None:
    ended = hello.flowc("run", "hello.flow", "--nats", url)
    assert ended.code == 2
    assert ended.is_one_message()


def test_an_unknown_run(hello: Project) -> None:
    ended = hello.flowc("run", "--resume", "nope")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "no run `nope`" in ended.err


def test_a_file_in_place_of_the_folder(hello: Project) -> None:
    (hello.folder / ".flow").write_text("in the way")
    for command in ("compile", "run"):
        ended = hello.flowc(command, "hello.flow")
        assert (ended.code, ended.is_one_message()) == (2, True), ended
        assert ".flow" in ended.err


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder where nobody can write, root included")
def test_a_folder_that_cannot_be_written(project: Project) -> None:
    """/proc takes no new files from anybody."""
    ended = Project(Path("/proc")).flowc("compile", str(project.folder))
    assert ended.code == 2
    assert ended.is_one_message()
    project.write(main_flow="flow main() returns int { return 1 }\n")
    link = project.folder / ".flow"
    link.symlink_to("/proc/none")
    for command in ("compile", "run"):
        ended = project.flowc(command, "main.flow")
        assert (ended.code, ended.is_one_message()) == (2, True), ended


def test_two_runs_at_once_in_one_folder(project: Project) -> None:
    project.write(
        main_flow="""
            use "tasks.py" { wait }
            flow main() returns int { return wait() }
        """,
        tasks_py="""
            import time
            from pathlib import Path
            def wait() -> int:
                Path("started").touch()
                while not Path("go").exists():
                    time.sleep(0.02)
                return 7
        """,
    )
    first = project.start("run", "main.flow", "-q")
    try:
        wait_for(project.folder / "started")
        second = project.flowc("run", "main.flow")
        assert (second.code, second.is_one_message()) == (2, True), second
        assert f"process {first.pid}" in second.err
        assert "Traceback" not in second.err
    finally:
        (project.folder / "go").touch()
        out, err = first.communicate(timeout=30)
    assert (first.returncode, out, err) == (0, "7\n", "")


def wait_for(path: Path, seconds: float = 20) -> None:
    import time

    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.02)


# ---- Python tasks ---------------------------------------------------------------------------------------------------

TASKS = """
import os, sys, time, signal

def raises() -> int: raise KeyError("day")
def odd() -> int: return object()
def wrong() -> int: return "seven"
def leaves() -> int: sys.exit(3)
def dies() -> int: os.kill(os.getpid(), signal.SIGKILL)
def hangs() -> int: time.sleep(60)
def prints() -> int:
    sys.stdout.write("x" * 1_000_000)
    return 1
"""


@pytest.mark.parametrize(
    ("task", "phrase"),
    [
        ("raises", "KeyError"),
        ("odd", "cannot be stored"),
        ("wrong", "expected int, got str"),
        ("leaves", "sys.exit(3)"),
        ("dies", "SIGKILL"),
        ("hangs", "Timeout"),
    ],
)
def test_tasks_that_misbehave(project: Project, task: str, phrase: str) -> None:
    project.write(
        main_flow=f"""
            use "tasks.py" {{ {task} }}
            flow main() returns int {{ return {task}() with {{ timeout: 500ms }} }}
        """,
        tasks_py=TASKS,
    )
    ended = project.flowc("run", "main.flow")
    assert ended.code == 1, ended
    assert "main.flow:3" in ended.out
    assert phrase in ended.out
    assert "Traceback" not in ended.out + ended.err


def test_a_task_that_prints_a_megabyte(project: Project) -> None:
    project.write(main_flow='use "tasks.py" { prints }\nflow main() returns int { return prints() }\n', tasks_py=TASKS)
    ended = project.flowc("run", "main.flow", "--json")
    assert (ended.code, ended.json["result"]) == (0, 1)


def test_a_task_that_is_missing_is_found_by_the_compiler(project: Project) -> None:
    project.write(main_flow='use "tasks.py" { gone }\nflow main() { gone() }\n', tasks_py=TASKS)
    ended = project.flowc("run", "main.flow")
    assert ended.code == 2
    assert "gone" in ended.err
    assert "main.flow:1" in ended.err


def test_a_module_that_cannot_be_imported(project: Project) -> None:
    project.write(
        main_flow='use "tasks.py" { f }\nflow main() { f() }\n', tasks_py="import no_such_thing\ndef f(): ...\n"
    )
    ended = project.flowc("run", "main.flow")
    assert ended.code == 1
    assert "no_such_thing" in ended.out
    assert "Traceback" not in ended.out
