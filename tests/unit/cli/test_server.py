"""Which server and environment a command speaks to."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowcli.errors import InputError
from flowcli.server import profile_of, server_of


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


# ---- environments ---------------------------------------------------------------------------------------------------

ENVIRONMENTS = """
[node]
nats = "nats://dev:1"
trusted = ["ed25519:a"]

[env.staging]
signing_key = "keys/deploy.pem"

[env.live]
nats = "nats://live:2"
env = "prod"
trusted = ["ed25519:b"]
confirm = true
"""


def test_an_environment_of_the_file_wins_over_node(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").write_text(ENVIRONMENTS)
    assert server_of(None, None, tmp_path) == ("nats://dev:1", "dev")
    assert server_of(None, "staging", tmp_path) == ("nats://dev:1", "staging")
    assert server_of(None, "live", tmp_path) == ("nats://live:2", "prod")
    assert server_of("nats://other:3", "live", tmp_path) == ("nats://other:3", "prod")
    staging, live = profile_of(None, "staging", tmp_path), profile_of(None, "live", tmp_path)
    assert (staging.trusted, staging.signing_key, staging.confirm) == (
        ("ed25519:a",), tmp_path / "keys/deploy.pem", False
    )  # fmt: skip
    assert (live.trusted, live.signing_key, live.confirm) == (("ed25519:b",), None, True)


def test_the_environment_of_node_may_be_one_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").write_text(ENVIRONMENTS.replace("[node]", '[node]\nenv = "live"'))
    assert server_of(None, None, tmp_path) == ("nats://live:2", "prod")
    assert server_of(None, "dev", tmp_path) == ("nats://dev:1", "dev")


def test_an_unknown_environment_is_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "flow.toml").write_text(ENVIRONMENTS)
    with pytest.raises(InputError, match="no environment `lvie`") as caught:
        server_of(None, "lvie", tmp_path)
    assert caught.value.help == "did you mean `live`? flow.toml has `[env.live]`, `[env.staging]`"
