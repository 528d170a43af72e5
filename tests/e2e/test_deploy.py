"""Deployments from the command line, against a real server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from flowcli.main import run

from tests.support.cluster import Server
from tests.support.deploy_story import RUNS, tell
from tests.support.live_node import LiveNode

from .conftest import Ended, Project

FLOW = """
pool db { slots: 2 }

flow %s(name: string = "ada") returns string {
  return "hello ${name}"
}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server, and no node."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(tmp_path_factory.mktemp("server"), "deploy", port)
    server.start()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield server.url
    server.kill()


SIGNED = """
task greet(name: string) returns string { run: shell("echo %s ${name}") }

flow %s() returns string { return greet("ada") }
"""


class Here(Project):
    """Commands run in this process: they are many."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self._captured = captured

    def flowc(self, *args: str, env: Mapping[str, str] | None = None, timeout: float = 60) -> Ended:
        self._captured.readouterr()
        code = run([*args])
        return Ended(code, *self._captured.readouterr())


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    for name in ("FLOW_NATS_URL", "FLOW_ENV", "FLOW_SIGNING_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Here(tmp_path, capsys)


def shop(project: Project, name: str, url: str, flow: str = "hello", more: str = "") -> Project:
    """A project of one flow, with all environments on one server."""
    toml = f'[project]\nname = "{name}"\n[node]\nnats = "{url}"\n[env.staging]\n[env.live]\nenv = "prod"\n{more}'
    (project.folder / "flow.toml").write_text(toml)
    return project.write(main_flow=FLOW % flow)


def test_runs_end_on_the_plan_and_the_code_that_they_began_with(tmp_path: Path) -> None:
    story = tell(tmp_path)
    assert story.before == [f"a{i} mixed by recipe 1, a{i} baked by recipe 1" for i in range(RUNS)]
    assert story.changed == [
        f"b{i} mixed by recipe 2, b{i} baked by recipe 2, b{i} iced by recipe 2" for i in range(RUNS)
    ]
    assert story.back == [f"c{i} mixed by recipe 1, c{i} baked by recipe 1" for i in range(RUNS)]
    first, second, third = story.plans
    assert (len(first), len(second), third) == (1, 1, first)
    assert first != second
    assert "~ flow bake\n    step iced: it is new\n~ pool ovens\n    slots: 2 → 4\n~ code " in story.planned
    assert [line.split()[0] for line in story.history.splitlines()] == ["NUMBER", "3", "2", "1"]


def test_from_the_first_deployment_to_the_undeploy(project: Project, url: str) -> None:
    shop(project, "shop", url)
    planned = project.flowc("plan", "--deployed", "--json").checked("answers")
    assert [(one["action"], one["what"], one["name"]) for one in planned["changes"]][:2] == [
        ("add", "flow", "hello"), ("add", "pool", "db"),
    ]  # fmt: skip
    first = project.flowc("deploy", "--json", "--note", "why", "--by", "ada").checked("answers")
    assert (first["action"], first["number"], first["changes"]) == ("deploy", 1, planned["changes"])
    again = project.flowc("deploy", "--json")
    assert (again.code, again.checked("answers")["action"]) == (0, "nothing")
    (project.folder / "main.flow").write_text((FLOW % "hello").replace("slots: 2", "slots: 3"))
    dry = project.flowc("deploy", "--dry-run").out
    assert "~ pool db\n    slots: 2 → 3\n" in dry
    assert project.flowc("deploy").code == 0
    back = project.flowc("rollback", "--json").checked("answers")
    assert (back["number"], back["to"], back["manifest"]) == (3, 1, first["manifest"])
    listed = project.flowc("deployments", "--json").checked("answers")
    (here,) = [one for one in listed["projects"] if one["project"] == "shop"]
    assert (here["current"]["number"], here["pools"], here["flows"][0]["flow"]) == (3, {"db": 2}, "hello")
    (project.folder / "flow.toml").write_text(f'[node]\nnats = "{url}"\n')  # another project
    gone = project.flowc("undeploy", "--project", "shop", "--json")
    assert gone.checked("answers")["manifest"] is None
    shop(project, "shop", url)
    history = project.flowc("history", "--json").checked("answers")["deployments"]
    assert [(one["number"], one["action"]) for one in history] == [
        (4, "undeploy"), (3, "rollback"), (2, "deploy"), (1, "deploy"),
    ]  # fmt: skip
    assert (history[-1]["by"], history[-1]["note"]) == ("ada", "why")
    for args, why in (
        (("undeploy",), "is not deployed"),
        (("rollback", "9"), "number 9 is not in the history"),
        (("rollback", "4"), "number 4 was an undeploy"),
    ):
        refused = project.flowc(*args)
        assert refused.code == 2
        assert why in refused.err
        assert refused.is_one_message()


def test_environments_on_one_server_never_touch_each_other(project: Project, url: str) -> None:
    shop(project, "envs", url)
    assert project.flowc("deploy", "--env", "staging").code == 0
    (project.folder / "main.flow").write_text((FLOW % "hello").replace("hello $", "good day $"))
    assert project.flowc("deploy", "--env", "live").code == 0
    numbers = {}
    for env, name in (("staging", "staging"), ("live", "prod"), ("dev", "dev")):
        listed = project.flowc("deployments", "--env", env, "--json").checked("answers")
        assert listed["env"] == name
        numbers[env] = {one["project"]: one["flows"][0]["plan"] for one in listed["projects"]}
    assert numbers["staging"]["envs"] != numbers["live"]["envs"]
    assert "envs" not in numbers["dev"]
    # a plan of one environment is not even in the store of another
    missing = project.flowc("submit", "hello", "--env", "dev")
    assert (missing.code, "no flow `hello` is deployed in the environment `dev`" in missing.err) == (2, True)
    unknown = project.flowc("deploy", "--env", "stagign")
    assert (unknown.code, "did you mean `staging`?" in unknown.err) == (2, True)


def test_what_cannot_be_deployed_is_refused_with_a_reason(project: Project, url: str) -> None:
    shop(project, "first", url, "taken")
    assert project.flowc("deploy").code == 0
    shop(project, "second", url, "taken", '[env.careful]\nconfirm = true\nsigning_key = "k.pem"\n')
    cases = {
        ("deploy",): "flow `taken` (main.flow) is deployed by project `first`",
        ("deploy", "--env", "careful"): "cannot read the private key: there is no such file",
        ("deploy", "--key", "main.flow"): "the private key cannot be read",
        ("deploy", "nowhere.flow"): "there is no such file",
        ("deploy", "--nats", "nats://127.0.0.1:1"): "no NATS server answers",
    }
    for args, why in cases.items():
        refused = project.flowc(*args)
        assert (refused.code, why in refused.err, refused.is_one_message()) == (2, True, True), refused.err
    assert project.flowc("key", "new", "k.pem").out.startswith("ed25519:")
    assert project.flowc("key", "new", "k.pem").code == 2
    asked = project.flowc("deploy", "--env", "careful")
    assert (asked.code, "`careful` wants to be asked" in asked.err) == (2, True)
    assert project.flowc("deploy", "--env", "careful", "--yes").code == 0
    signer = project.flowc("history", "--env", "careful", "--json").json["deployments"][0]["signer"]
    assert signer == project.flowc("key", "show", "k.pem").out.strip()
    project.write(main_flow="flow broken( {")
    refused = project.flowc("deploy", "--json")
    assert (refused.code, refused.checked("compile")["diagnostics"][0]["severity"]) == (2, "error")
    project.write(main_flow=FLOW % "a", other_flow=(FLOW % "a").replace("pool db { slots: 2 }", ""))
    assert "2 files have a flow `a`" in project.flowc("deploy").err
    assert project.flowc("history", "--json").json["deployments"] == []


def test_of_two_deployments_at_once_one_wins(project: Project, url: str) -> None:
    shop(project, "race", url)
    started = [project.start("deploy", "--by", f"user{i}", "--note", str(i), "--yes", "--json") for i in range(3)]
    ended = [(one.wait(60), *one.communicate()) for one in started]
    for code, out, _ in ended:
        assert code in (0, 2), out
        assert code == 0 or "came in between" in out
    history = project.flowc("history", "--json").json["deployments"]
    assert [one["number"] for one in history] == [1]


def test_a_node_runs_only_what_its_trusted_signer_deployed(project: Project) -> None:
    project.write(main_flow=SIGNED % ("hello", "hello"))
    public = project.flowc("key", "new", "ada.pem").out.strip()
    project.flowc("key", "new", "eve.pem")
    toml = f'[project]\nname = "shop"\n[node]\ntrusted = ["{public}"]\n[env.live]\n'
    (project.folder / "flow.toml").write_text(toml)
    with LiveNode(project.folder, "--env", "live") as node:
        there = ("--env", "live", "--nats", node.url)
        assert project.flowc("deploy", "--key", "ada.pem", *there).code == 0
        assert project.flowc("submit", "hello", "--wait", "-q", *there).out == "hello ada\n"
        project.write(main_flow=SIGNED % ("good night", "hello"))
        for args, why in (((), "nobody would sign this"), (("--key", "eve.pem"), "would be signed by ed25519:")):
            told = project.flowc("deploy", *args, *there)
            assert (told.code, why in told.err) == (2, True), told.err
        (project.folder / "flow.toml").write_text('[project]\nname = "shop"\n')  # Eve's own
        assert project.flowc("deploy", "--key", "eve.pem", *there).code == 0
        (project.folder / "flow.toml").write_text(toml)
        refused = project.flowc("submit", "hello", "--wait", "--json", *there).json
        assert (refused["state"], refused["error"]["type"]) == ("failed", "Untrusted")
        assert project.flowc("submit", "main.flow", "--wait", *there).code == 1
        assert project.flowc("rollback", "--key", "ada.pem", *there).code == 0
        assert project.flowc("submit", "hello", "--wait", "-q", *there).out == "hello ada\n"
        log = node.log.read_text()
    assert "deployment 2 of `shop` is signed by ed25519:" in log
    assert "who is not among those that this node trusts" in log


def test_what_a_deployment_needs_is_looked_for_before_it(project: Project, url: str) -> None:
    shop(project, "needy", url)
    flow = "var rate: int\n\nflow charge() returns int {\n  return rate * 2\n}\n"
    (project.folder / "main.flow").write_text(flow)
    for command in ("plan", "deploy"):
        refused = project.flowc(command, "--env", "staging")
        assert (refused.code, refused.is_one_message()) == (2, True), refused.err
        assert "variable `rate: int` is not set, and has no default: `flowc var set rate VALUE`" in refused.err
    assert project.flowc("var", "set", "rate", "3", "--env", "staging").code == 0
    assert project.flowc("deploy", "--env", "staging").code == 0
    task = 'task pay(key: secret<string>) returns int { run: python("tasks:pay") }\n'
    flow = task + 'flow charge() returns int {\n  return pay(secret("bank"))\n}\n'
    project.write(main_flow=flow, tasks_py="def pay(key: str) -> int:\n    return 1\n")
    unsure = project.flowc("deploy", "--env", "staging", "--strict")
    assert (unsure.code, "bank" in unsure.err) == (2, True), unsure.err
    warned = project.flowc("deploy", "--env", "staging")
    assert (warned.code, "warning: " in warned.err) == (0, True), warned.err
