"""Which server a program speaks to that does not say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flowrun import where


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("FLOW_NATS_URL", raising=False)
    monkeypatch.delenv("FLOW_ENV", raising=False)
    yield
    where.tell("", "")


def test_the_environment_goes_first_then_the_worker_then_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (where.server_url(), where.environment()) == ("nats://127.0.0.1:4222", "dev")
    where.tell("nats://elsewhere", "prod")
    assert (where.server_url(), where.environment()) == ("nats://elsewhere", "prod")
    monkeypatch.setenv("FLOW_NATS_URL", "nats://mine")
    monkeypatch.setenv("FLOW_ENV", "test")
    assert (where.server_url(), where.environment()) == ("nats://mine", "test")


def test_a_password_is_not_told() -> None:
    where.tell("", "prod")
    assert (where.server_url(), where.environment()) == ("nats://127.0.0.1:4222", "prod")
