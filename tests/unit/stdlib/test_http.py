"""std.http against a server of this test."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from flowrun.operator import Context, Fail, Retry
from flowstd import http

WITHIN = timedelta(seconds=5)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/hang":
            threading.Event().wait(0.5)
        if self.path == "/moved":
            self._answer(302, b"", Location="/data")
        elif self.path.startswith("/status/"):
            self._answer(int(self.path.rpartition("/")[2]), b"the reason", **{"Retry-After": "7"})
        elif self.path == "/words":
            self._answer(200, b"no json")
        else:
            self._answer(200, json.dumps({"path": self.path, "auth": self.headers["Authorization"]}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer(201, json.dumps([body, self.headers["Idempotency-Key"], self.headers["X-A"]]).encode())

    do_PUT = do_POST

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what one of the tests is about."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def context() -> Context:
    return Context(
        run="r",
        flow="f",
        step="s",
        index=None,
        attempt=1,
        attempt_id="r/0/1/1",
        connections={},
        idempotency_key="r/0/1",
    )


def test_get(url: str) -> None:
    answer = http.get(f"{url}/moved", {}, "word", WITHIN)
    assert answer["status"] == 200
    assert answer["url"] == f"{url}/data"
    assert json.loads(answer["body"]) == {"path": "/data", "auth": "Bearer word"}


def test_get_json(url: str) -> None:
    assert http.get_json(f"{url}/data", {}, None, WITHIN) == {"path": "/data", "auth": None}
    with pytest.raises(Fail, match="is no JSON"):
        http.get_json(f"{url}/words", {}, None, WITHIN)


def test_post_and_request(url: str) -> None:
    answer = http.post(url, {"a": 1}, {"X-A": "x"}, None, WITHIN, context())
    assert answer["status"] == 201
    assert json.loads(answer["body"]) == ['{"a":1}', "r/0/1", "x"]
    answer = http.request("put", url, "text", {}, None, WITHIN)
    assert json.loads(answer["body"]) == ["text", None, None]


@pytest.mark.parametrize(
    ("status", "error", "base"),
    [
        (404, http.ClientError, Fail),
        (500, http.ServerError, Exception),
        (429, http.Busy, Retry),
        (503, http.Busy, Retry),
    ],
)
def test_a_status_of_400_or_more_is_a_failure(url: str, status: int, error: type, base: type) -> None:
    with pytest.raises(error, match=f"answered {status} .*: the reason") as caught:
        http.get(f"{url}/status/{status}", {}, None, WITHIN)
    assert isinstance(caught.value, base)
    if isinstance(caught.value, Retry):
        assert caught.value.after == 7.0


def test_a_server_that_hangs(url: str) -> None:
    with pytest.raises(httpx.ReadTimeout, match=f"^GET {url}/hang: "):
        http.get(f"{url}/hang", {}, None, timedelta(seconds=0.1))


def test_a_server_that_is_not_there(url: str) -> None:
    with pytest.raises(httpx.ConnectError, match=r"^GET http://\*\*\*@127\.0\.0\.1:9/x: ") as caught:
        http.get("http://user:hidden-word@127.0.0.1:9/x", {}, None, WITHIN)
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no url", "ftp://x", "http://", "http://h:port/"])
def test_what_is_no_url_fails_for_good(text: str) -> None:
    with pytest.raises(Fail, match="is no URL: write one like"):
        http.get(text, {}, None, WITHIN)


def test_download(url: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "data.json"
    found = http.download(f"{url}/data", str(path), {}, None, WITHIN)
    content = path.read_bytes()
    assert found == {"path": str(path), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(http.ClientError):
        http.download(f"{url}/status/404", str(tmp_path / "other"), {}, None, WITHIN)
    assert [entry.name for entry in path.parent.iterdir()] == ["data.json"]
    assert not (tmp_path / "other").exists()
