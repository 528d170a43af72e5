"""Vault and AWS Secrets Manager, each against a small server that speaks its protocol; and how plug-ins are found."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flowrun.secrets import Resolver, SecretError, SecretMissing, load_keys, plugins, vault
from flowrun.secrets.plugins import Plugins

pytest.importorskip("hvac")

#: (method, path, headers, body) -> (status, body)
Answer = Callable[[str, str, Any, bytes], tuple[int, Any]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = answer(self.command, self.path.split("?")[0], self.headers, body)
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = _respond

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class FakeVault:
    """Vault's API as far as it is used: KV version 2, AppRole, tokens that end."""

    def __init__(self) -> None:
        self.tokens = {"root"}
        self.data: dict[str, dict[str, Any]] = {}
        self.logins = 0

    def __call__(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if path == "/v1/auth/approle/login":
            given = json.loads(body)
            if given != {"role_id": "role", "secret_id": "sid"}:
                return 400, {"errors": ["invalid role or secret ID"]}
            self.logins += 1
            self.tokens = {f"t{self.logins}"}
            return 200, {"auth": {"client_token": f"t{self.logins}"}}
        if headers.get("X-Vault-Token") not in self.tokens:
            return 403, {"errors": ["permission denied"]}
        mount, kind, *rest = path.removeprefix("/v1/").split("/")
        fields = self.data.get("/".join(rest)) if (mount, kind) == ("kv", "data") else None
        return (404, {"errors": []}) if fields is None else (200, {"data": {"data": fields, "metadata": {}}})


@pytest.fixture
def fake() -> FakeVault:
    return FakeVault()


@contextmanager
def opened(fake: Answer, path: str = "kv/flow", **more: str) -> Iterator[vault.Vault]:
    with serving(fake) as url:
        named = {"VAULT_ADDR": url, "VAULT_TOKEN": "root"} | more
        yield vault.Vault(path, {name: value for name, value in named.items() if value})


def test_a_field_of_the_path_or_a_secret_below_it(fake: FakeVault) -> None:
    fake.data = {"flow": {"a": "one"}, "flow/b": {"value": "two", "note": "x"}, "flow/team/c": {"password": "three"}}
    with opened(fake) as store:
        assert [store.get(key) for key in ("a", "b", "team/c", "d")] == ["one", "two", "three", None]


def test_a_mount_without_a_path(fake: FakeVault) -> None:
    fake.data = {"a": {"value": "one"}}
    with opened(fake, "kv") as store:
        assert store.get("a") == "one"


def test_what_is_no_text_or_not_clear_is_told_without_its_value(fake: FakeVault) -> None:
    fake.data = {"flow/a": {"value": 17}, "flow/b": {"user": "hunter2", "password": "hunter3"}}
    with opened(fake) as store:
        with pytest.raises(SecretError, match="its field is a int"):
            store.get("a")
        with pytest.raises(SecretError, match=r"several fields .* \(password, user\)") as caught:
            store.get("b")
    assert "hunter" not in str(caught.value)


def test_a_token_that_ended_is_replaced_by_logging_in_again(fake: FakeVault) -> None:
    fake.data = {"flow/a": {"value": "one"}}
    with opened(fake, VAULT_TOKEN="", FLOW_VAULT_ROLE_ID="role", FLOW_VAULT_SECRET_ID="sid") as store:
        assert store.get("a") == "one"
        fake.tokens = set()
        assert store.get("a") == "one"
    assert fake.logins == 2


def test_a_token_from_a_file(fake: FakeVault, tmp_path: Path) -> None:
    fake.data = {"flow/a": {"value": "one"}}
    (tmp_path / "token").write_text("root\n")
    with opened(fake, VAULT_TOKEN="", VAULT_TOKEN_FILE=str(tmp_path / "token")) as store:
        assert store.get("a") == "one"


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"VAULT_TOKEN": "wrong"}, "Vault refuses: permission denied"),
        ({"VAULT_TOKEN": "", "FLOW_VAULT_ROLE_ID": "role", "FLOW_VAULT_SECRET_ID": "no"}, "invalid role or secret ID"),
        ({"VAULT_TOKEN": ""}, "nothing says how to log in"),
        ({"VAULT_TOKEN": "", "VAULT_TOKEN_FILE": "/nowhere/token"}, "cannot be read from /nowhere/token"),
        ({"VAULT_ADDR": "http://127.0.0.1:9"}, "Vault does not answer"),
    ],
)
def test_why_vault_gives_nothing(fake: FakeVault, named: dict[str, str], why: str) -> None:
    with opened(fake, **named) as store, pytest.raises(SecretError, match=why):
        store.get("a")


def test_vault_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_VAULT_PATH", "secret/flow")
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    with pytest.raises(SecretError, match="VAULT_ADDR"):
        vault.open_store()


# ---- AWS ------------------------------------------------------------------------------------------------------------


def fake_aws(method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
    assert headers["X-Amz-Target"] == "secretsmanager.GetSecretValue"
    name = json.loads(body)["SecretId"]
    if name == "prod/a":
        return 200, {"Name": name, "SecretString": "one"}
    if name == "prod/bytes":
        return 200, {"Name": name, "SecretBinary": "AAAA"}
    kind = "AccessDeniedException" if name == "prod/closed" else "ResourceNotFoundException"
    return 400, {"__type": kind, "message": f"hunter2 about {name}"}


def test_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("boto3")
    from flowrun.secrets import aws

    monkeypatch.delenv("FLOW_AWS_SECRETS_PREFIX", raising=False)
    assert aws.open_store() is None
    with serving(fake_aws) as url:
        for name, value in {
            "FLOW_AWS_SECRETS_PREFIX": "prod/", "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        store = aws.open_store()
        assert store is not None
        assert store.get("a") == "one"
        assert store.get("missing") is None
        for key, why in (("closed", "AccessDeniedException"), ("bytes", "has bytes")):
            with pytest.raises(SecretError, match=why) as caught:
                store.get(key)
            assert "hunter2" not in str(caught.value)


# ---- plug-ins -------------------------------------------------------------------------------------------------------


class Store:
    def __init__(self, found: Any) -> None:
        self.found = found

    def get(self, key: str) -> str | None:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found  # type: ignore[no-any-return]


def given(monkeypatch: pytest.MonkeyPatch, **stores: Any) -> Plugins:
    def opener(found: Any) -> Any:
        return lambda: lambda: None if found is None else Store(found)

    monkeypatch.setattr(plugins, "_openers", lambda: {name: opener(found) for name, found in stores.items()})
    return Plugins()


def test_plug_ins_are_asked_in_order_and_only_if_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, a=None, b="two", c="three").get("x") == "two"
    assert given(monkeypatch, a=None).get("x") is None


def test_what_a_plug_in_raises_is_told_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SecretError, match="the store `a` fails: ValueError") as caught:
        given(monkeypatch, a=ValueError("hunter2")).get("x")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_entry_point_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_openers", lambda: {"a": plugins._importer("no.such.module:open")})
    with pytest.raises(SecretError, match="the plug-in `a` cannot be imported"):
        Plugins().get("x")


def test_our_own_are_known_without_being_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOW_VAULT_PATH", "FLOW_AWS_SECRETS_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    assert {"aws", "vault"} <= plugins._openers().keys()
    assert Plugins().get("x") is None


async def test_an_installed_plug_in_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cellar_store.py").write_text(
        "class Cellar:\n    def get(self, key):\n        return {'wine': 'red'}.get(key)\n\n"
        "def open_store():\n    return Cellar()\n"
    )
    info = tmp_path / "cellar-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cellar\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flow.secrets]\ncellar = cellar_store:open_store\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    resolver = Resolver.over(None, environment={"FLOW_SECRETS": "env,plugins"})
    assert await resolver.get("wine") == "red"
    with pytest.raises(SecretMissing, match="put it into cellar"):
        await resolver.get("beer")
    with pytest.raises(SecretError, match="the store `cellar` has no secret `none`"):
        load_keys("", {"FLOW_KEY_FROM": "cellar:none"})
    with pytest.raises(SecretError, match="FLOW_KEY_FROM=cellar:wine holds no key"):
        load_keys("", {"FLOW_KEY_FROM": "cellar:wine"})
