"""Trying connections: each kind against something that answers, or does not."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from flowrun.connecting import try_connection
from flowrun.connections import ConnectionProblem
from flowrun.operator import Connection

from tests.unit.stdlib.test_sql_time_notify import serving


def connection(kind: str, **fields: Any) -> Connection:
    return Connection(name="it", kind=kind, fields=fields)


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ok = self.headers.get("Authorization") in (None, "Bearer right", "Basic dTpw")
            self.send_response(status if ok else 401)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/"


def test_a_database_in_a_file(tmp_path: Path) -> None:
    found = connection("sqlite", path="x.db")
    assert "no file x.db yet" in try_connection(found, tmp_path)
    (tmp_path / "x.db").write_bytes(b"")
    assert try_connection(found, tmp_path) == "the database answers"
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ConnectionProblem, match="not a database"):
        try_connection(found, tmp_path)
    with pytest.raises(ConnectionProblem, match="has no path"):
        try_connection(connection("sqlite"), tmp_path)


def test_an_http_server() -> None:
    with answering(204) as url:
        for fields in ({}, {"token": "right"}, {"user": "u", "password": "p"}):
            assert try_connection(connection("http", url=url, **fields), Path()) == "the server answers 204"
        with pytest.raises(ConnectionProblem, match="refuses the login"):
            try_connection(connection("http", url=url, token="wrong"), Path())
    with answering(503) as url, pytest.raises(ConnectionProblem, match="answers 503"):
        try_connection(connection("http", url=url), Path())
    for url in ("http://127.0.0.1:9/", "nonsense"):
        with pytest.raises(ConnectionProblem):
            try_connection(connection("http", url=url), Path())
    with pytest.raises(ConnectionProblem, match="has no `url`"):
        try_connection(connection("http"), Path())


def test_a_mail_server() -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper()
                if word == b"EHLO":
                    self.wfile.write(b"250-me\r\n250 AUTH PLAIN\r\n")
                elif word == b"AUTH":
                    self.wfile.write(b"235 ok\r\n" if line.split()[2] == b"AHUAcA==" else b"535 no\r\n")
                else:
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    where = {"host": "127.0.0.1", "port": server.server_address[1]}
    with serving(server):
        assert try_connection(connection("smtp", **where), Path()) == "the mail server answers"
        found = connection("smtp", **where, user="u", password="p")
        assert try_connection(found, Path()) == "the mail server takes the login"
        with pytest.raises(ConnectionProblem):
            try_connection(connection("smtp", **where, user="u", password="x"), Path())


def test_what_has_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for found in (
            connection("postgres", host="127.0.0.1", port=port),
            connection("own", url=f"own://127.0.0.1:{port}/x"),
        ):
            assert try_connection(found, Path()) == f"127.0.0.1:{port} is open; the login was not tried"
    with pytest.raises(ConnectionProblem):
        try_connection(connection("postgres", host="127.0.0.1", port=port), Path())


def test_what_cannot_be_tried() -> None:
    with pytest.raises(ConnectionProblem, match="nothing is known of the kind `crm`"):
        try_connection(connection("crm", seats=3), Path())
    with pytest.raises(ConnectionProblem, match=r"[Pp]ort"):
        try_connection(connection("own", url="own://host:many"), Path())
