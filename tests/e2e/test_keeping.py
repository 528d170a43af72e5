"""Variables, secrets and connections from the command line, against a real server."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Server
from tests.unit.secrets.test_stores import FakeVault, serving

from .conftest import FLOWC, Ended, Project
from .test_deploy import Here

FLOW = """
use "tasks.py" { send }

var limit: int = 5
var region: "eu" | "us"
connection crm: http { url: "http://127.0.0.1:9/", token: secret("crm.token") }

task show(key: secret<string>) returns int { run: python("tasks:show"), timeout: 1m }
task fail(key: secret<string>) returns int { run: python("tasks:fail"), timeout: 1m }

flow main() returns json {
  return { limit: limit, region: region, length: show(secret("api_key")), deep: show(secret("deep")) }
}
flow broken() returns int { return fail(secret("api_key")) }
flow connected() returns json { return send(1) }
"""
TASKS = """
import base64
import os
import subprocess

from flowrun.operator import Context, task


def show(key: str) -> int:
    print("it is", key)
    print(base64.b64encode(f"user:{key}".encode()).decode())
    print(key[:9])
    print(key[9:])
    subprocess.run(["sh", "-c", 'echo "child $0" >&2', key], check=True)
    assert not any(name.startswith("FLOW_KEY") for name in os.environ)
    return len(key)


def fail(key: str) -> int:
    raise ValueError(f"cannot use {key}")


@task(timeout="1m", uses=["crm"])
def send(x: int, context: Context) -> dict[str, int]:
    fields = context.connections["crm"].fields
    print(fields)
    return {name: len(str(value)) for name, value in fields.items()}
"""
#: what must be nowhere
API_KEY, NEW_KEY, TOKEN, DEEP = "hunter2-first-value", "hunter2-second-value!", "hunter2-token", "hunter2-in-a-vault"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Server(tmp_path_factory.mktemp("server"), "keeping", port)
    found.start()
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield found
    found.kill()


@pytest.fixture
def project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: Server
) -> Here:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FLOW_")]:
        monkeypatch.delenv(name)
    env = re.sub(r"\W", "", tmp_path.name)
    toml = f'[project]\nname = "shop"\n[node]\nnats = "{server.url}"\nenv = "{env}"\nkey_file = "key"\n'
    (tmp_path / "flow.toml").write_text(toml)
    here = Here(tmp_path, capsys)
    here.write(main_flow=FLOW, tasks_py=TASKS)
    return here


def typed(project: Project, monkeypatch: pytest.MonkeyPatch, value: str, *args: str) -> Ended:
    """With a value that comes from the environment, and not from a command line."""
    monkeypatch.setenv("THE_VALUE", value)
    return project.flowc("secret", *args, "--from-env", "THE_VALUE")


def test_variables(project: Here) -> None:
    done = project.flowc("var", "set", "region", "eu")  # before it is deployed
    assert (done.out, done.err) == ('region = "eu"\n', "")
    assert project.flowc("var", "get", "limits").code == 2
    wrong = project.flowc("var", "set", "regoin", "eu")
    assert wrong.is_one_message()
    assert "did you mean `region`" in wrong.err
    wrong = project.flowc("var", "set", "limit", "many")
    assert wrong.is_one_message()
    assert "takes an int" in wrong.err
    assert project.flowc("var", "set", "limit", "7", "--json").checked("answers")["value"] == 7
    found = project.flowc("var", "list", "--json").checked("answers")["variables"]
    assert [(one["name"], one["value"], one["state"]) for one in found] == [
        ("limit", 7, "set"),
        ("region", "eu", "set"),
    ]
    assert project.flowc("var", "unset", "limit").code == 0
    wrong = project.flowc("var", "unset", "limit")
    assert wrong.is_one_message()


def test_secrets(project: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = typed(project, monkeypatch, API_KEY, "set", "api_key")
    assert wrong.is_one_message()
    assert "the key file" in wrong.err
    assert project.flowc("secret", "key", "new", "key").code == 0
    assert (project.folder / "key").stat().st_mode & 0o777 == 0o600
    assert typed(project, monkeypatch, API_KEY, "set", "api_key").code == 0
    wrong = typed(project, monkeypatch, API_KEY, "rotate", "api_kye")
    assert wrong.is_one_message()
    (project.folder / "value").write_text(f"{NEW_KEY}\n")
    changed = project.flowc("secret", "rotate", "api_key", "--from-file", "value", "--json")
    assert changed.checked("answers")["action"] == "rotated"
    listed = project.flowc("secret", "list", "--json")
    (entry,) = listed.checked("answers")["secrets"]
    assert (entry["name"], entry["readable"]) == ("api_key", True)
    assert "hunter2" not in listed.out + project.flowc("secret", "list").out

    (project.folder / "key").rename(project.folder / "old")
    assert project.flowc("secret", "key", "new", "key").code == 0
    for args in (("set", "b"), ("rotate", "api_key")):
        wrong = typed(project, monkeypatch, "x", *args)
        assert wrong.is_one_message()
        assert f"sealed with the key {entry['key']}" in wrong.err
    wrong = project.flowc("secret", "key", "rotate")
    assert wrong.is_one_message()
    assert entry["key"] in wrong.err
    assert "(not here)" in project.flowc("secret", "list").out

    keys = [(project.folder / name).read_text() for name in ("key", "old")]
    (project.folder / "key").write_text("".join(keys))
    assert project.flowc("secret", "key", "rotate", "--json").checked("answers")["count"] == 1
    (project.folder / "key").write_text(keys[0])
    assert typed(project, monkeypatch, "x", "set", "b").code == 0
    assert project.flowc("secret", "rm", "b").code == 0
    assert project.flowc("secret", "rm", "b").is_one_message()


def test_connections(project: Here) -> None:
    listed = project.flowc("connection", "list", "--json").checked("answers")["connections"]
    assert [one["connection"] for one in listed] == ["crm"]
    wrong = project.flowc("connection", "set", "crm", "url=http://b/", "tokn=1")
    assert wrong.is_one_message()
    assert "did you mean `token`" in wrong.err
    wrong = project.flowc("connection", "set", "crm", "token=hunter2")
    assert wrong.is_one_message()
    assert "is not written out" in wrong.err
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    shown = project.flowc("connection", "set", "crm", f"url={url}", "token=secret(other)", "--json").checked("answers")
    assert [(one["value"], one["source"]) for one in shown["fields"]] == [
        (url, "environment"),
        ("secret(other)", "environment"),
    ]
    wrong = project.flowc("connection", "test", "crm")
    assert wrong.code == 2
    assert "FLOW_SECRET_OTHER" in wrong.err
    assert project.flowc("connection", "unset", "crm", "token").code == 0
    assert project.flowc("connection", "show", "cmr").is_one_message()


def test_no_secret_is_in_the_store_the_logs_or_the_records(
    project: Here, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(*args: str) -> str:
        ended = project.flowc(*args)
        return ended.out + ended.err

    project.flowc("secret", "key", "new", "key")
    typed(project, monkeypatch, API_KEY, "set", "api_key")
    monkeypatch.delenv("THE_VALUE")
    (project.folder / "mounted").mkdir()
    (project.folder / "mounted" / "crm.token").write_text(f"{TOKEN}\n")
    vault = FakeVault()
    vault.data = {"shop/deep": {"value": DEEP}}
    project.flowc("var", "set", "region", "us")
    shown = ""
    with (project.folder / "node.log").open("w") as log, serving(vault) as url:
        more = {"FLOW_SECRETS_DIR": "mounted", "FLOW_VAULT_PATH": "kv/shop", "VAULT_ADDR": url, "VAULT_TOKEN": "root"}
        node = subprocess.Popen(
            [FLOWC, "node"], cwd=project.folder, stdout=log, stderr=log, process_group=0, env=os.environ | more
        )
        try:
            for flow in ("main", "broken", "connected"):
                shown += whole("submit", "main.flow", "--flow", flow, "--wait")
            for run in re.findall(r"run (\w+): ", shown):
                shown += whole("logs", run) + whole("ps", run, "--json")
        finally:
            node.terminate()
            assert node.wait(30) == 0
    assert '"length": 19' in shown
    assert '"deep": 18' in shown
    assert '"token": 13' in shown
    assert "it is ***" in shown
    assert "child ***" in shown
    assert "ValueError: cannot use ***" in shown
    kept = b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file())
    assert b"api_key" in kept  # what is looked through is the right folder
    kept += (project.folder / "node.log").read_bytes() + shown.encode()
    for value in (API_KEY, TOKEN, DEEP, API_KEY[:9] + "\n" + API_KEY[9:]):
        assert value.encode() not in kept
    assert b"hunter2" not in kept


def test_what_flow_toml_says_of_an_environment_is_deployed(project: Here) -> None:
    toml = project.folder / "flow.toml"
    before = toml.read_text()
    env = f"[env.live]\nnats = {before.split('nats = ')[1].split(chr(10))[0]}\n[env.live.connection.%s]\n%s\n"
    for table, line, why in (
        ("crn", 'url = "http://c/"', "did you mean `crm`"),
        ("crm", "url = 1", "no string"),
        ("crm", 'tokn = "x"', "did you mean `token`"),
        ("crm", 'token = "hunter2"', "is not written out"),
    ):
        toml.write_text(before + env % (table, line))
        wrong = project.flowc("deploy", "--env", "live", "--no-code")
        assert wrong.is_one_message()
        assert why in wrong.err
    toml.write_text(before + env % ("crm", 'url = "http://c/"\ntoken = { secret = "live" }'))
    project.flowc("var", "set", "region", "us", "--env", "live")
    deployed = project.flowc("deploy", "--env", "live", "--no-code")
    assert deployed.code == 0, deployed.err
    assert "cannot be told whether the secret `live` is there" in deployed.err
    assert "crm.token" not in deployed.err
    shown = project.flowc("connection", "show", "crm", "--env", "live", "--json").checked("answers")
    assert [(one["value"], one["source"]) for one in shown["fields"]] == [
        ("http://c/", "file"),
        ("secret(live)", "file"),
    ]


def test_what_is_missing_is_told_before_it_is_deployed(project: Here) -> None:
    wrong = project.flowc("deploy", "--no-code")
    assert wrong.code == 2
    assert "variable `region: " in wrong.err
    assert "flowc var set region VALUE" in wrong.err
    assert "was never deployed" in project.flowc("history").out
    project.flowc("var", "set", "region", "us")
    strict = project.flowc("deploy", "--no-code", "--strict")
    assert strict.code == 2
    assert "cannot be told whether the secret `api_key` is there" in strict.err
    assert project.flowc("deploy", "--no-code").code == 0
