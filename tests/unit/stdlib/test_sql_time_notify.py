"""std.sql, std.time and std.notify, and that every interface has its function."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import flowstd
import pytest
from flowrun.operator import Context, Fail
from flowstd import notify, sql, time

FOLDER = Path(str(flowstd.__file__)).parent


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_sql(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = f"{kind}:x.db"
    assert sql.execute(database, "create table t (a int, b text)", []) == 0
    assert sql.execute(database, "insert into t values (?, ?), (2, 'two')", [1, "it's"]) == 2
    rows = sql.query(database, "select a, b from t where a < ? order by a", [3])
    assert rows == [{"a": 1, "b": "it's"}, {"a": 2, "b": "two"}]
    assert sql.query(database, "select 1.5 as x", []) == [{"x": 1.5}]
    with pytest.raises(Fail, match="names no database"):
        sql.query("x.db", "select 1", [])


async def test_time() -> None:
    before = dt.datetime.now(dt.UTC)
    await time.sleep(dt.timedelta(milliseconds=20))
    assert time.now() - before >= dt.timedelta(milliseconds=20)


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    context = Context(run="r", flow="f", step="s", index=None, attempt=1, attempt_id="i", connections={})
    with caplog.at_level(logging.INFO):
        notify.log("late by 5%", "warning", context)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("flow.s", "WARNING", "late by 5%")
    ]


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_slack() -> None:
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(404 if got[-1]["channel"] == "#absent" else 200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    hook = f"http://127.0.0.1:{server.server_port}/hook"
    with serving(server):
        notify.slack("#data", "größer", hook)
        with pytest.raises(Fail, match="refused the message for #absent: 404"):
            notify.slack("#absent", "x", hook)
    assert got[0] == {"channel": "#data", "text": "größer"}
    with pytest.raises(ConnectionError, match="cannot be reached"):
        notify.slack("#data", "x", hook)


def test_webhook() -> None:
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((body, self.headers["Idempotency-Key"], self.headers["Authorization"], self.headers["X-From"]))
            self.send_response(int(body["answer"]))
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}/late"
    context = Context(
        run="r", flow="f", step="s", index=None, attempt=1, attempt_id="i", connections={}, idempotency_key="r/s"
    )
    with serving(server):
        notify.webhook(url, {"answer": 204}, {"X-From": "flow"}, "token", context)
        with pytest.raises(Fail, match="answered 400"):
            notify.webhook(url, {"answer": 400}, {}, None, context)
        with pytest.raises(Exception, match="answered 500"):
            notify.webhook(url, {"answer": 500}, {}, None, context)
    assert got[0] == ({"answer": 204}, "r/s", "Bearer token", "flow")
    assert got[1][1:3] == ("r/s", None)


def test_email() -> None:
    got: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while line := self.rfile.readline().decode():
                got.append(line.strip())
                if line.upper().startswith("DATA"):
                    self.wfile.write(b"354 go\r\n")
                    while (text := self.rfile.readline()) != b".\r\n":
                        got.append(text.decode().strip())
                self.wfile.write(b"221 bye\r\n" if line.upper().startswith("QUIT") else b"250 ok\r\n")
                if line.upper().startswith("QUIT"):
                    return

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server, serving(server):
        port = server.server_address[1]
        url = f"smtp://127.0.0.1:{port}?from=flow@example.org"
        notify.email("owner@example.org", "album\nready", "", url)
    assert "mail FROM:<flow@example.org>" in {line.partition(" size")[0] for line in got}
    assert {"To: owner@example.org", "Subject: album ready", "album"} <= set(got)
    with pytest.raises(Fail, match="no address of a mail server"):
        notify.email("owner@example.org", "x", "", "example.org")


#: what they declare waits, and runs nowhere
WAITING = ("human", "wait")


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_has_no_function(name: str) -> None:
    text = (FOLDER / f"{name}.flow").read_text()
    assert len(re.findall(r"^task ", text, re.MULTILINE)) == len(re.findall(r'run: wait\("\w+"\)', text))
    assert not (FOLDER / f"{name}.py").exists()


@pytest.mark.parametrize(
    "path", [path for path in sorted(FOLDER.glob("*.flow")) if path.stem not in WAITING], ids=lambda path: path.stem
)
def test_every_task_of_an_interface_has_its_function(path: Path) -> None:
    module = import_module(f"flowstd.{path.stem}")
    text = path.read_text()
    tasks = re.findall(r"^task (\w+)", text, re.MULTILINE)
    targets = re.findall(r'python\("(.*?)"\)', text)
    assert targets == [f"flowstd.{path.stem}:{name}" for name in tasks]
    assert all(callable(getattr(module, name)) for name in tasks)
    assert set(tasks) <= set(module.__all__)
