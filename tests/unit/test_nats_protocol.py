"""What is written is what NATS's protocol says, and what comes is taken apart wherever the network cuts it."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest
from flowrun.nats.protocol import Inbound, encode_headers, header, publication, status
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

tokens = st.text("abcXYZ019_-=", min_size=1, max_size=8)
payloads = st.binary(max_size=60) | st.sampled_from([b"\r\n", b"MSG a 1 3\r\n", b"PING\r\n", b"-ERR 'x'\r\n"])
header_maps = st.dictionaries(tokens, st.text("ab c:1/-", max_size=9), max_size=3)
Taken = tuple[str, bytes, bytes, bytes, bytes]


class FakeClient:
    """Takes note of what nats-py would be told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    async def _process_ping(self) -> None:
        self.told.append("ping")

    async def _process_pong(self) -> None:
        self.told.append("pong")

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.told.append(info)

    async def _process_err(self, text: str) -> None:
        self.told.append(text)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.told.append((sid, subject, reply, headers, data))


def parsed(pieces: list[bytes]) -> tuple[list[Taken], list[Any]]:
    """What the subscriptions "1" and "2" get, and what goes on to nats-py."""
    client = FakeClient()
    inbound = Inbound(client)
    taken: list[Taken] = []
    for sid in ("1", "2"):
        inbound.handlers[sid.encode()] = lambda *message, sid=sid: taken.append((sid, *message))  # type: ignore[misc]

    async def parse() -> None:
        for piece in pieces:
            await inbound.parse(piece)

    asyncio.run(parse())
    return taken, client.told


def delivered(sid: str, subject: str, reply: str, headers: bytes, data: bytes) -> bytes:
    """As the server delivers a message."""
    words = [subject, sid, *([reply] if reply else [])]
    if headers:
        return (
            f"HMSG {' '.join(words)} {len(headers)} {len(headers) + len(data)}\r\n".encode() + headers + data + b"\r\n"
        )
    return f"MSG {' '.join(words)} {len(data)}\r\n".encode() + data + b"\r\n"


@given(
    messages=st.lists(
        st.tuples(st.sampled_from("12"), tokens, tokens | st.just(""), header_maps, payloads), max_size=6
    ),
    commands=st.lists(st.sampled_from([b"PING", b"PONG", b"+OK", b"ping"]), max_size=3),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_messages_are_the_same_wherever_they_are_cut(
    messages: list[tuple[str, str, str, dict[str, str], bytes]], commands: list[bytes], cuts: list[int]
) -> None:
    wire, expected = b"", []
    for sid, subject, reply, headers, data in messages:
        encoded = encode_headers(headers) if headers else b""
        wire += delivered(sid, subject, reply, encoded, data)
        wire += b"".join(command + b"\r\n" for command in commands)
        expected.append((sid, subject.encode(), reply.encode(), encoded, data))
    edges = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    taken, told = parsed([wire[start:end] for start, end in pairwise(edges)])
    assert taken == expected
    assert told == [c.decode().lower() for _ in messages for c in commands if c != b"+OK"]


def test_what_is_not_ours_goes_on() -> None:
    wire = (
        b'INFO {"version": "2.15.1"}\r\nMSG a 7 2\r\nhi\r\nHMSG a 7 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n'
        b"-ERR 'Stale Connection'\r\nMSG a 1 0\r\n\r\n"
    )
    taken, told = parsed([wire])
    assert taken == [("1", b"a", b"", b"", b"")]
    assert told == [
        {"version": "2.15.1"},
        (7, b"a", b"", None, b"hi"),
        (7, b"a", b"r", b"NATS/1.0\r\n\r\n", b"hi"),
        "'stale connection'",
    ]


def test_a_large_message_in_many_pieces() -> None:
    data = bytes(8_000_000)
    wire = delivered("1", "a", "", b"", data)
    taken, _ = parsed([wire[at : at + 32_768] for at in range(0, len(wire), 32_768)])
    assert taken == [("1", b"a", b"", b"", data)]


def test_what_is_not_the_protocol_is_an_error() -> None:
    with pytest.raises(ProtocolError):
        parsed([b"HTTP/1.1 400 Bad Request\r\n"])


def test_a_handler_that_fails_does_not_end_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    inbound = Inbound(FakeClient())
    taken: list[bytes] = []

    def handler(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> None:
        if data == b"bad":
            raise ValueError(data)
        taken.append(data)

    inbound.handlers[b"1"] = handler
    with caplog.at_level(logging.ERROR, "flow.nats"):
        asyncio.run(inbound.parse(b"MSG a 1 3\r\nbad\r\nMSG a 1 4\r\ngood\r\n"))
    assert taken == [b"good"]
    assert "a message to a could not be taken" in caplog.text


def test_after_a_reset_nothing_of_the_old_connection_is_left() -> None:
    """Also when the reset comes from within: an error that makes nats-py reconnect."""
    client = FakeClient()
    inbound = Inbound(client)
    taken: list[bytes] = []
    inbound.handlers[b"1"] = lambda subject, reply, headers, data: taken.append(data)

    async def reset(text: str) -> None:
        inbound.reset()

    client._process_err = reset  # type: ignore[method-assign]

    async def parse() -> None:
        await inbound.parse(b"-ERR 'Stale Connection'\r\nMSG a 1 100\r\nhalf")
        await inbound.parse(b"MSG a 1 3\r\nnew\r\n")
        await inbound.parse(b"MSG a 1 9\r\nold")
        inbound.reset()
        await inbound.parse(b"MSG a 1 3\r\nnew\r\n")

    asyncio.run(parse())
    assert taken == [b"new", b"new"]


@given(headers=header_maps, data=payloads)
def test_headers_are_found_again(headers: dict[str, str], data: bytes) -> None:
    encoded = encode_headers(headers)
    assert {name: header(encoded, name) for name in headers} == {name: v.strip() for name, v in headers.items()}
    assert header(encoded, "Other") is None
    assert status(encoded) == b""
    whole = publication("s.t", data, "r", encoded)
    assert whole == b"HPUB s.t r %d %d\r\n%b%b\r\n" % (len(encoded), len(encoded) + len(data), encoded, data)
    assert publication("s.t", data) == b"PUB s.t  %d\r\n%b\r\n" % (len(data), data)


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_headers({"Flow-Key": "a\r\nNats-Rollup: all"})


def test_the_status_of_the_servers_own_messages() -> None:
    headers = b"NATS/1.0 409 Consumer Deleted\r\nNats-Pending-Messages: 3\r\n\r\n"
    assert status(headers) == b"409"
    assert header(headers, "Nats-Pending-Messages") == "3"
    assert status(b"") == b""
