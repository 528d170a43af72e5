"""`flowc submit`, `ps`, `logs`, `cancel`, `nodes`, and the Python client, against a real node in its processes."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import FLOWC, Ended, Project

FLOWS = """
use "work.py" { greet, slow, boom }

flow hello(name: string = "world") returns string {
  return greet(name)
}

flow slowly(seconds: float = 20.0) returns string {
  x = slow(seconds)
  y = greet(x) after done(x)
  return y
}

flow failing() returns int {
  return boom()
}
"""
WORK = """
import time

def greet(name: str) -> str:
    print(f"greeting {name}")
    return f"hello {name}"

def slow(seconds: float) -> str:
    for i in range(int(seconds * 10)):
        print("tick", i, flush=True)
        time.sleep(0.1)
    return "you"

def boom() -> int:
    raise ValueError("out of luck")

def add(a: int, b: int = 2) -> int:
    return a + b

async def double(x: int) -> int:
    return 2 * x
"""


class Environment(Project):
    """A project, and a node of it with its server."""

    url = ""

    def on(self, *args: str) -> Ended:
        return self.flowc(*args, env={"FLOW_NATS_URL": self.url})

    def submit(self, *args: str) -> str:
        ended = self.on("submit", "flows.flow", "-q", *args)
        assert (ended.code, ended.err) == (0, "")
        return ended.out.strip()

    def state(self, run: str) -> str:
        return str(self.on("ps", run, "--json").checked("answers")["state"])

    def python(self, text: str) -> str:
        """The output of a program beside the project."""
        env = self.environment({"FLOW_NATS_URL": self.url})
        (self.folder / "program.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "program.py"], cwd=self.folder, env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    yield from running_node(tmp_path_factory.mktemp("environment"), FLOWS, WORK)


def running_node(folder: Path, flows: str, work: str) -> Iterator[Environment]:
    """An environment with one node, until the iterator goes on."""
    environment = Environment(folder)
    environment.write(flows_flow=flows, work_py=work)
    assert environment.flowc("compile", "flows.flow").code == 0
    log = folder / "node.log"
    with log.open("w") as output:
        node = subprocess.Popen(
            [FLOWC, "node", "--port", "0", "--name", "n1"], cwd=folder, env=environment.environment(), stderr=output,
            process_group=0,
        )  # fmt: skip
    try:
        wait_until(lambda: "is led from here" in log.read_text())
        found = re.search(r"nats://[0-9.:]+", log.read_text())
        assert found is not None
        environment.url = found[0]
        yield environment
    finally:
        os.kill(node.pid, signal.SIGTERM)
        node.wait(timeout=60)


# ---- submit ---------------------------------------------------------------------------------------------------------


def test_submit_prints_the_run_and_ps_shows_its_end(here: Environment) -> None:
    ended = here.on("submit", "flows.flow", "--flow", "hello", "-p", "name=you")
    assert (ended.code, ended.err) == (0, "")
    found = re.fullmatch(r"run (\w+): hello submitted; `flowc ps \1` shows it\n", ended.out)
    assert found is not None, ended.out
    wait_until(lambda: here.state(found[1]) == "success")
    shown = here.on("ps", found[1])
    assert shown.out.startswith(f"run {found[1]}: hello: success after ")
    assert "✓ greet" in shown.out


def test_submit_and_wait_is_as_flowc_run(here: Environment) -> None:
    ended = here.on("submit", "flows.flow", "--flow", "hello", "--wait")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].endswith(": hello started")
    assert "greet | greeting world" in lines
    assert any(line.startswith("greet: success") for line in lines)
    assert lines[-1] == "hello world"
    assert here.on("submit", "flows.flow", "--flow", "hello", "--wait", "-q").out == "hello world\n"
    failed = here.on("submit", "flows.flow", "--flow", "failing", "--wait", "--json")
    assert (failed.code, failed.checked("run")["state"]) == (1, "failed")


def test_submit_a_plan_with_a_key(here: Environment) -> None:
    plan = ".flow/build/hello.flowplan"
    runs = {here.on("submit", plan, "--key", "order 7", "--json").checked("answers")["run"] for _ in range(2)}
    assert len(runs) == 1
    assert here.on("submit", plan, "--key", "order 7", "--wait", "-q").out == "hello world\n"


def test_submit_for_later_and_cancel_it(here: Environment) -> None:
    run = here.submit("--flow", "hello", "--delay", "1h")
    shown = here.on("ps", run, "--json").checked("answers")
    assert shown["state"] == "delayed"
    at = dt.datetime.fromisoformat(shown["at"]) - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=58) < at < dt.timedelta(minutes=62)
    assert "delayed until" in here.on("ps", run).out
    assert here.on("cancel", run).code == 0
    assert here.state(run) == "cancelled"


def test_a_moment_later(here: Environment) -> None:
    at = (dt.datetime.now() + dt.timedelta(seconds=2)).isoformat()
    assert here.on("submit", "flows.flow", "--flow", "hello", "--at", at, "--wait", "-q").out == "hello world\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["submit", "gone.flow"], "there is no such file"),
        (["submit", "flows.flow", "--flow", "hell"], "did you mean `hello`"),
        (["submit", "flows.flow", "--flow", "hello", "-p", "nam=x"], "did you mean `name`"),
        (["submit", "flows.flow", "--flow", "hello", "--at", "soon"], "is no time"),
        (["submit", "flows.flow", "--flow", "hello", "--delay", "soon"], "takes a duration"),
        (["submit", "flows.flow", "--flow", "hello", "--delay", "1h", "--at", "2036-01-01"], "not both"),
        (["ps", "r0"], "there is no run `r0`"),
        (["logs", "r0"], "there is no run `r0`"),
        (["cancel", "r0"], "there is no run `r0`"),
    ],
)
def test_wrong_input_is_one_message(here: Environment, args: list[str], message: str) -> None:
    ended = here.on(*args)
    assert ended.code == 2
    assert ended.is_one_message()
    assert message in ended.err
    as_json = here.on(*args, "--json")
    assert (as_json.code, as_json.err) == (2, "")
    assert message in as_json.checked("answers")["error"]["message"] + (as_json.json["error"]["help"] or "")


@pytest.mark.parametrize("command", [["submit", "flows.flow", "--flow", "hello"], ["ps"], ["logs", "r"], ["nodes"]])
def test_a_server_that_does_not_answer_is_one_message(here: Environment, command: list[str]) -> None:
    ended = here.flowc(*command, "--nats", "nats://127.0.0.1:9")
    assert ended.code == 2
    assert ended.is_one_message()
    assert "127.0.0.1:9" in ended.err


# ---- ps, logs, cancel, nodes ----------------------------------------------------------------------------------------


def test_a_run_is_shown_while_it_goes_on_and_cancelled(here: Environment) -> None:
    run = here.submit("--flow", "slowly")
    wait_until(lambda: any(one["steps"].get("running") for one in here.on("ps", "--json").checked("answers")["runs"]))
    assert run in here.on("ps", "--flow", "slowly").out
    assert run not in here.on("ps", "--flow", "hello").out
    shown = here.on("ps", run)
    assert f"run {run}: slowly: running" in shown.out
    assert "● x" in shown.out
    following = subprocess.Popen(
        [FLOWC, "logs", "-f", run, "--nats", here.url], cwd=here.folder, env=here.environment(),
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert following.stdout is not None
    assert following.stdout.readline() == "x | tick 0\n"
    began = time.monotonic()
    ended = here.on("cancel", run)
    assert ended.out == f"asked for the end of run {run}\n"
    following.communicate(timeout=10)  # it ends with the run
    assert following.returncode == 0
    assert time.monotonic() - began < 10
    assert here.state(run) == "cancelled"
    again = here.on("cancel", run)
    assert again.code == 2
    assert "has ended (cancelled)" in again.err


def test_a_step_can_be_cancelled_alone(here: Environment) -> None:
    run = here.submit("--flow", "slowly")
    wait_until(lambda: "tick" in here.on("logs", run).out)
    assert here.on("cancel", run, "x", "--json").checked("answers") == {"run": run, "step": "x"}
    wait_until(lambda: here.state(run) != "running", seconds=10)
    steps = {step["step"]: step["state"] for step in here.on("ps", run, "--json").json["steps"]}
    assert steps["x"] == "cancelled"


def test_the_log_of_an_ended_run(here: Environment) -> None:
    run = here.submit("--flow", "hello")
    wait_until(lambda: here.state(run) == "success")
    wait_until(lambda: here.on("logs", run).out == "greet | greeting world\n")
    line = json.loads(here.on("logs", run, "--json").out)
    assert (line["step"], line["stream"], line["text"]) == ("greet", "out", "greeting world\n")


def test_nodes(here: Environment) -> None:
    found = here.on("nodes", "--json").checked("answers")["nodes"]
    assert any("default" in node["capacity"] for node in found)
    assert [node["leads"] for node in found if node["leads"]] == [["0"]]
    assert here.on("nodes").out.startswith("NODE")
    nobody = here.on("nodes", "--env", "empty")
    assert "no node lives" in nobody.out


def test_without_a_coordinator(here: Environment) -> None:
    ended = here.on("ps", "--env", "empty")
    assert ended.code == 0
    assert "no coordinator answers" in ended.err
    run = here.submit("--flow", "hello", "--env", "empty")
    shown = here.on("ps", run, "--env", "empty")
    assert f"run {run}: unseen" in shown.out


# ---- the Python client ----------------------------------------------------------------------------------------------


def test_the_client(here: Environment) -> None:
    out = here.python("""
import asyncio
from flowrun import Client, RunFailed
import work

async def main():
    async with Client.connect() as client:
        run = await client.submit_task(work.add, 1)
        print(await run.result())
        print(await (await client.submit_task("work:add", 1, b=5)).result())
        runs = await asyncio.gather(*(client.submit_task(work.double, i) for i in range(200)))
        print(sum(await asyncio.gather(*(run.result() for run in runs))))
        print(await (await client.submit(".flow/build/hello.flowplan", {"name": "you"})).result())
        try:
            await (await client.submit_task(work.boom)).result()
        except RunFailed as error:
            print(error.failure.message)
        run = await client.submit_task(work.slow, 30.0)
        async for note in run.events():
            if "tick 3" in getattr(note, "text", ""):
                await run.cancel()
        print((await run.wait()).state)
        print((await client.list()).total, len(await client.nodes()) > 0)

asyncio.run(main())
""")
    assert out.splitlines() == ["3", "6", "39800", "hello you", "out of luck", "cancelled", "0 True"]


def test_the_blocking_client_also_after_a_fork(here: Environment) -> None:
    out = here.python("""
import os, sys, threading
from flowrun import SyncClient
import work

with SyncClient() as client:
    run = client.submit_task(work.add, 1, 2)
    print(run.result(timeout=20))
    sys.stdout.flush()
    if os.fork() == 0:
        print(run.result(timeout=20), client.submit_task(work.add, 3, 4).result(timeout=20))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
    found = []
    threads = [
        threading.Thread(target=lambda i=i: found.append(client.submit_task(work.add, i, i).result()))
        for i in range(20)
    ]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(sorted(found) == [2 * i for i in range(20)])
    print(sum(run.result() for run in client.submit_many(work.add, [(i, 1) for i in range(50)])))
    print([type(note).__name__ for note in client.submit_task(work.add, 1).events()][-1])
""")
    assert out.splitlines() == ["3", "3 7", "True", "1275", "StateNote"]


def test_a_program_started_as_a_script_submits_its_own_functions(here: Environment) -> None:
    out = here.python("""
from flowrun import SyncClient

def twice(x: int) -> int:
    return 2 * x

if __name__ == "__main__":
    with SyncClient() as client:
        print(client.submit_task(twice, 21).result(timeout=20))
""")
    assert out == "42\n"
