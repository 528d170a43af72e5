"""What JetStream's errors mean: what is worth another try, and what is not."""

from __future__ import annotations

import pytest
from flowrun.errors import StoreError, TransportError
from flowrun.nats.api import ApiError, api_error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ApiError(503, 10008, "JetStream system temporarily unavailable"), True),
        (ApiError(409, 10158, "duplicate message id is in process"), True),
        (ApiError(503, 10077, "maximum bytes exceeded"), False),
        (ApiError(503, 10039, "JetStream not enabled for account"), False),
        (ApiError(400, 10071, "wrong last sequence: 4"), False),
        (ApiError(404, 10059, "stream not found"), False),
    ],
)
def test_what_passes_is_tried_again(error: ApiError, passing: bool) -> None:
    assert error.passing is passing


def test_a_full_store_is_told_as_one() -> None:
    found = api_error(ApiError(503, 10077, "maximum bytes exceeded"), "a message", "nats://h:1")
    assert isinstance(found, StoreError)
    assert "free disk space" in str(found)


def test_another_refusal_names_the_server_and_the_reason() -> None:
    found = api_error(ApiError(400, 10012, "no"), "a message to x", "nats://h:1")
    assert isinstance(found, TransportError)
    assert str(found) == "nats://h:1 refuses a message to x: no (JetStream error 10012)"
