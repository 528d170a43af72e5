"""`--nats URL`: a server that is there already, shared by several runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flowrun.server import EmbeddedServer, find_nats_server

from .conftest import Project
from .test_interrupt import FLOW, TASKS, wait_for_line


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedServer(tmp_path_factory.mktemp("server"))
    yield asyncio.run(server.start())
    asyncio.run(server.stop())


def test_a_run_uses_the_given_server(hello: Project, url: str) -> None:
    assert hello.flowc("run", "hello.flow", "-q", "--nats", url).out == "hello world\n"
    assert not (hello.folder / ".flow/store").exists()
    assert hello.flowc("run", "hello.flow", "-q", env={"FLOW_NATS_URL": url}).out == "hello world\n"
    assert hello.flowc("run", "--resume", "last", "-q").out == "hello world\n"  # it knows its server


def test_two_runs_at_once_on_one_server(hello: Project, url: str) -> None:
    """In one folder too: only an own server needs the folder for itself."""
    both = [hello.start("run", "hello.flow", "-q", "--nats", url, "-p", f"name={name}") for name in ("a", "b")]
    assert [process.communicate(timeout=60)[0] for process in both] == ["hello a\n", "hello b\n"]


def test_a_killed_run_is_resumed_on_its_server(project: Project, url: str) -> None:
    project.write(main_flow=FLOW, tasks_py=TASKS)
    process = project.start("run", "main.flow", "--nats", url)
    wait_for_line(project, "item 1 end")
    process.kill()
    process.communicate(timeout=10)
    ended = project.flowc("run", "--resume", "last", "--json", timeout=60)
    assert json.loads(ended.out)["result"] == 2


def test_a_url_with_a_password_is_not_on_any_command_line(project: Project, url: str) -> None:
    project.write(main_flow=FLOW, tasks_py=TASKS)
    with_password = url.replace("://", "://user:hidden-word@")
    process = project.start("run", "main.flow", "--nats", with_password)
    wait_for_line(project, "item 1 start")
    others = [pid for pid in Path("/proc").glob("[0-9]*") if pid.name != str(process.pid)]
    assert not any("hidden-word" in _command(pid) for pid in others)
    process.communicate(timeout=60)
    assert process.returncode == 0


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def small_url(tmp_path: Path) -> Iterator[str]:
    """A server whose store takes 3 MB: to whoever writes, a disk that fills up."""
    config = tmp_path / "small.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: "{tmp_path}"\nmax_payload: 8MB\n'
        f'jetstream {{ store_dir: "{tmp_path}/store", max_file_store: 3MB }}\n'
    )
    with subprocess.Popen([str(find_nats_server()), "-c", str(config), "-l", str(tmp_path / "nats.log")]) as process:
        ports = tmp_path / f"nats-server_{process.pid}.ports"
        until = time.monotonic() + 10
        while not ports.exists() or not ports.read_text().strip():
            assert time.monotonic() < until, (tmp_path / "nats.log").read_text()
            time.sleep(0.01)
        yield json.loads(ports.read_text())["nats"][0]
        process.terminate()


def test_a_store_that_fills_up_ends_the_run_at_once(project: Project, small_url: str) -> None:
    project.write(
        main_flow="""
            use "tasks.py" { make, grow }
            flow main(n: int = 400_000) returns int {
              xs = make(n) -> grow -> grow -> grow -> grow
              return len(xs)
            }
        """,
        tasks_py="""
            def make(n: int) -> list[int]:
                return list(range(n))
            def grow(xs: list[int]) -> list[int]:
                return [x + 1 for x in xs]
        """,
    )
    ended = project.flowc("run", "main.flow", "--nats", small_url, timeout=60)
    assert ended.code == 2
    assert ended.is_one_message()
    assert "does not take more" in ended.err
    assert "--resume" in ended.err
