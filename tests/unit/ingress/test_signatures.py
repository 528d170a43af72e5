"""Signatures: the examples that others publish, and what must not pass."""

from __future__ import annotations

import pytest
from flowc.plan import WebhookSource
from flowrun.ingress.signatures import BadSecret, delivery_id, precheck, verify
from hypothesis import given
from hypothesis import strategies as st

STANDARD = WebhookSource(path="/in", body=0, secret="key")
GITHUB = WebhookSource(path="/in", body=0, secret="key", scheme="sha256=hex")
HEX = WebhookSource(path="/in", body=0, secret="key", scheme="hex", header="X-Signature")
BEARER = WebhookSource(path="/in", body=0, secret="key", auth="bearer")

#: secret, id, time, body, signature: of the reference libraries of Standard Webhooks, and of Svix's manual
PUBLISHED = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_plJ3nmyCDGBKInavdOK15jsl",
        "msg_loFOjxBNrRLzqYUf",
        "1731705121",
        b'{"event_type":"ping","data":{"success":true}}',
        "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    ),
]
SECRET, ID, STAMP, BODY, SIGNATURE = PUBLISHED[0]
HEADERS = {"webhook-id": ID, "webhook-timestamp": STAMP, "webhook-signature": SIGNATURE}
NOW = float(STAMP)

#: GitHub's documentation, "Validating webhook deliveries"
GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB_HEX = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(("secret", "id", "stamp", "body", "signature"), PUBLISHED)
def test_standard_webhooks(secret: str, id: str, stamp: str, body: bytes, signature: str) -> None:
    headers = {"webhook-id": id, "webhook-timestamp": stamp, "webhook-signature": signature}
    assert verify(STANDARD, secret, headers, body, float(stamp)) is None
    assert verify(STANDARD, secret.removeprefix("whsec_"), headers, body, float(stamp)) is None
    assert verify(STANDARD, secret, headers, body + b" ", float(stamp)) is not None


def test_one_of_several_signatures_is_enough() -> None:
    assert verify(STANDARD, SECRET, {**HEADERS, "webhook-signature": f"v1a,xyz v1,AAAA {SIGNATURE}"}, BODY, NOW) is None
    assert verify(STANDARD, SECRET, {**HEADERS, "webhook-signature": f"v2,{SIGNATURE[3:]}"}, BODY, NOW) is not None


@pytest.mark.parametrize("name", list(HEADERS))
def test_each_signed_part_counts(name: str) -> None:
    changed = {**HEADERS, name: HEADERS[name][:-1] + ("1" if HEADERS[name][-1] != "1" else "2")}
    assert verify(STANDARD, SECRET, changed, BODY, NOW) is not None
    without = {other: text for other, text in HEADERS.items() if other != name}
    refused = verify(STANDARD, SECRET, without, BODY, NOW)
    assert refused is not None
    assert f"`{name}` is missing" in refused.message
    assert precheck(STANDARD, without) == refused


def test_old_and_early_ones_are_refused() -> None:
    for seconds in (-299.0, 299.0):
        assert verify(STANDARD, SECRET, HEADERS, BODY, NOW + seconds) is None
    for seconds in (-301.0, 301.0, 1e9):
        refused = verify(STANDARD, SECRET, HEADERS, BODY, NOW + seconds)
        assert refused is not None
        assert "too far from now" in refused.message


@pytest.mark.parametrize("stamp", ["", "soon", "1614265330.5", "-1614265330", "٣", "9" * 400])
def test_a_time_that_is_none(stamp: str) -> None:
    assert verify(STANDARD, SECRET, {**HEADERS, "webhook-timestamp": stamp}, BODY, NOW) is not None


def test_a_secret_that_is_none() -> None:
    with pytest.raises(BadSecret, match="whsec_"):
        verify(STANDARD, "whsec_not base64!", HEADERS, BODY, NOW)


def test_github() -> None:
    headers = {"x-hub-signature-256": f"sha256={GITHUB_HEX}", "x-github-delivery": "72d3162e"}
    assert verify(GITHUB, GITHUB_SECRET, headers, GITHUB_BODY, 0.0) is None
    assert verify(GITHUB, GITHUB_SECRET + "!", headers, GITHUB_BODY, 0.0) is not None
    assert verify(GITHUB, GITHUB_SECRET, headers, GITHUB_BODY[:-1], 0.0) is not None
    assert verify(GITHUB, GITHUB_SECRET, {"x-hub-signature-256": GITHUB_HEX}, GITHUB_BODY, 0.0) is not None
    assert verify(GITHUB, GITHUB_SECRET, {"x-hub-signature": f"sha256={GITHUB_HEX}"}, GITHUB_BODY, 0.0) is not None
    assert delivery_id(GITHUB, headers, GITHUB_BODY) == "72d3162e"


def test_hex_in_a_header_of_its_own() -> None:
    assert verify(HEX, GITHUB_SECRET, {"x-signature": GITHUB_HEX}, GITHUB_BODY, 0.0) is None
    assert verify(HEX, GITHUB_SECRET, {"x-signature": GITHUB_HEX.upper()}, GITHUB_BODY, 0.0) is None
    assert verify(HEX, GITHUB_SECRET, {"x-hub-signature-256": GITHUB_HEX}, GITHUB_BODY, 0.0) is not None


def test_bearer() -> None:
    assert verify(BEARER, "token", {"authorization": "Bearer token"}, b"", 0.0) is None
    assert verify(BEARER, "token", {"authorization": "bearer  token"}, b"", 0.0) is None
    for wrong in ("Bearer Token", "Bearer", "Basic token", "token", "Bearer tök"):
        assert verify(BEARER, "token", {"authorization": wrong}, b"", 0.0) is not None, wrong
    assert precheck(BEARER, {}) is not None


@given(st.binary(max_size=50), st.text(max_size=30), st.text(max_size=30))
def test_nothing_passes_by_chance(body: bytes, signature: str, token: str) -> None:
    assert verify(GITHUB, GITHUB_SECRET, {"x-hub-signature-256": f"sha256={signature}"}, body, 0.0) is not None
    assert verify(STANDARD, SECRET, {**HEADERS, "webhook-signature": signature}, body, NOW) is not None
    assert verify(BEARER, "a long token that is not short", {"authorization": f"Bearer {token}"}, body, 0.0) is not None


def test_ids_of_deliveries() -> None:
    assert delivery_id(STANDARD, HEADERS, BODY) == ID
    assert delivery_id(HEX, {"idempotency-key": "a", "x-github-delivery": "b"}, b"") == "a"
    assert delivery_id(HEX, {}, b"one") == delivery_id(HEX, {}, b"one") != delivery_id(HEX, {}, b"two")
    assert delivery_id(HEX, {"idempotency-key": "x" * 1000}, b"one") == delivery_id(HEX, {}, b"one")
    assert delivery_id(BEARER, {}, b"one") != delivery_id(BEARER, {}, b"one"), "nothing tells that it came before"
