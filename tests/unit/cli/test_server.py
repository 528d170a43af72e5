"""Which server and environment a command speaks to."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowcli.errors import InputError
from flowcli.server import server_of


def test_options_win_over_the_file_and_that_over_the_defaults(tmp_path: Path) -> None:
    assert server_of(None, None, tmp_path) == ("nats://127.0.0.1:4222", "dev")
    (tmp_path / "flow.toml").write_text('[node]\nnats = "nats://host:1"\nenv = "prod"\n')
    assert server_of(None, None, tmp_path) == ("nats://host:1", "prod")
    assert server_of("nats://other:2", None, tmp_path) == ("nats://other:2", "prod")
    assert server_of(None, "test", tmp_path) == ("nats://host:1", "test")
    assert server_of("nats://other:2", "test", tmp_path) == ("nats://other:2", "test")


@pytest.mark.parametrize("text", ["[node", "[node]\nnats = 5\n", "[node]\nnat = 'x'\n"])
def test_a_wrong_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "flow.toml").write_text(text)
    with pytest.raises(InputError):
        server_of(None, None, tmp_path)
