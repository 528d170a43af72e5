"""Where webhooks are listened for."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner
from flowcli.node import command
from flowrun.ingress.http import BadAddress, listen


@pytest.mark.parametrize(
    "address", ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BadAddress, match="write it as"):
        listen(address)
    if address:
        result = CliRunner().invoke(command, ["--http", address], standalone_mode=False)
        assert (result.return_value, "write it as 127.0.0.1:8080" in result.output) == (78, True)


def test_a_port_that_is_taken() -> None:
    with listen("127.0.0.1:0") as first:
        assert first.getsockname()[1] != 0
        with pytest.raises(BadAddress, match="address already in use"):
            listen(f"127.0.0.1:{first.getsockname()[1]}")


def test_answers_are_sent_at_once() -> None:
    """asyncio asks for that where the socket names its protocol."""
    with listen("127.0.0.1:0") as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_role_without_name() -> None:
    result = CliRunner().invoke(command, ["--roles", "ingres"], standalone_mode=False)
    assert (result.return_value, "`leader`, `worker` and `ingress`" in result.output) == (78, True)
