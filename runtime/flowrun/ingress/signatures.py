"""Is a request from whom it should be? Pure: the headers, the body, the secret and the time decide.

Schemes of `auth: "hmac"`, all HMAC-SHA256:
  standard     Standard Webhooks: `webhook-signature` holds one or more `v1,<base64>` of "id.timestamp.body", under the
               bytes that the secret is the base64 of (`whsec_…`). Id and time are signed: an old request is refused.
  sha256=hex   GitHub: `X-Hub-Signature-256: sha256=<hex>` of the body.
  hex          the same without `sha256=`, in the header that the trigger names.
`auth: "bearer"`: `Authorization: Bearer <secret>`. Comparisons take the same time whatever differs.

The id by which a request counts once is the signed one, else what a header says, else, of a signed body, its hash.
Requests without any count each for themselves.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping

import msgspec
from flowc.plan import WebhookSource

__all__ = ["BadSecret", "Refused", "delivery_id", "precheck", "verify"]

#: header of a delivery's id, where it is not signed: the first that is there
_ID_HEADERS = ("idempotency-key", "x-github-delivery", "webhook-id")
_GITHUB_HEADER = "x-hub-signature-256"
#: longer ones are no ids
_LONGEST_ID = 255


class BadSecret(ValueError):
    """The secret cannot be used; whoever runs the node must mend it."""


class Refused(msgspec.Struct, frozen=True):
    """Why a request is not believed."""

    message: str


def precheck(source: WebhookSource, headers: Mapping[str, str]) -> Refused | None:
    """What can be told before the body is read: are the headers there? `headers`: their names in lower case."""
    if source.auth == "none":
        return None
    if source.auth == "bearer":
        return None if _bearer(headers) else Refused("the header `Authorization: Bearer …` is missing")
    wanted = (
        ("webhook-id", "webhook-timestamp", "webhook-signature") if source.scheme == "standard" else (_header(source),)
    )
    missing = [name for name in wanted if not headers.get(name)]
    return Refused(f"the header `{missing[0]}` is missing") if missing else None


def verify(source: WebhookSource, secret: str, headers: Mapping[str, str], body: bytes, now: float) -> Refused | None:
    """None: it is from whom it should be. `now`: seconds since 1970. Raises BadSecret."""
    if source.auth == "none":
        return None
    missing = precheck(source, headers)
    if missing is not None:
        return missing
    if source.auth == "bearer":
        same = hmac.compare_digest(_bearer(headers).encode(), secret.encode())
        return None if same else Refused("the bearer token is another one")
    if source.scheme == "standard":
        return _verify_standard(source, secret, headers, body, now)
    prefix = "sha256=" if source.scheme == "sha256=hex" else ""
    wanted = prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = headers[_header(source)].strip()
    same = hmac.compare_digest(given.lower().encode(), wanted.encode())
    return None if same else Refused("the signature does not match the body")


def _verify_standard(
    source: WebhookSource, secret: str, headers: Mapping[str, str], body: bytes, now: float
) -> Refused | None:
    id, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 15:
        return Refused("`webhook-timestamp` is no time in seconds since 1970")
    wanted = base64.b64encode(
        hmac.new(_standard_key(secret), f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    )  # fmt: skip
    signatures = [text for text in headers["webhook-signature"].split(" ") if text.startswith("v1,")]
    same = [hmac.compare_digest(text.removeprefix("v1,").encode(), wanted) for text in signatures]
    if not any(same):
        return Refused("the signature does not match the id, the time and the body")
    if abs(now - int(stamp)) * 1000 > source.tolerance_ms:
        return Refused("`webhook-timestamp` is too far from now: it was sent before, or a clock is wrong")
    return None


def _standard_key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSecret("it is no secret of Standard Webhooks, which is `whsec_` and base64") from error


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _header(source: WebhookSource) -> str:
    """Of the signature, where it is not that of Standard Webhooks."""
    return source.header.lower() or _GITHUB_HEADER


def delivery_id(source: WebhookSource, headers: Mapping[str, str], body: bytes) -> str:
    """What a request is known by when it comes again; another one each time where nothing tells."""
    if source.auth == "hmac" and source.scheme == "standard":
        return headers["webhook-id"]
    for name in _ID_HEADERS:
        if 0 < len(found := headers.get(name, "").strip()) <= _LONGEST_ID:
            return found
    if source.auth == "hmac":
        return hashlib.sha256(body).hexdigest()
    return secrets.token_hex(16)
