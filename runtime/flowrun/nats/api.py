"""What JetStream's API answers, and what its errors mean to us."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from flowrun.errors import FlowError, StoreError, TransportError

__all__ = ["NO_MESSAGE", "NO_STREAM", "ApiError", "api_error", "checked_url"]

#: JetStream's error codes: no such message, stream
NO_MESSAGE, NO_STREAM = 10037, 10059
#: … that mean a full or broken disk
_STORE_CODES = {10023, 10047, 10077, 10028}
#: … that JetStream is not enabled, on the server or for the account
_DISABLED_CODES = {10039, 10076, 10035}
#: a message of the same id was sent before and is being copied to the others of a cluster: it may still fail
_IN_PROCESS = 10158


class ApiError(msgspec.Struct, frozen=True):
    """What JetStream answers instead of a result."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def full(self) -> bool:
        """The disk is full or broken."""
        return self.err_code in _STORE_CODES or "no space" in self.description

    @property
    def passing(self) -> bool:
        """A cluster chooses a leader, a server is about to be ready, or the same message is on its way already."""
        if self.err_code == _IN_PROCESS:
            return True
        return self.code == 503 and not self.full and self.err_code not in _DISABLED_CODES


def api_error(error: ApiError, what: str, url: str) -> FlowError:
    """The error of ours for one of JetStream's."""
    if error.err_code in _DISABLED_CODES:
        return TransportError(f"JetStream is not enabled on {url}: start the server with `nats-server -js`")
    if error.full:
        return StoreError(
            f"the store of the NATS server {url} does not take more ({error.description}): "
            "free disk space, or raise JetStream's storage limit"
        )
    return TransportError(f"{url} refuses {what}: {error.description} (JetStream error {error.err_code})")


def checked_url(urls: str) -> str:
    """The URLs without user and password. Raises TransportError for one that is none."""
    shown = []
    for url in urls.split(","):
        split = urlsplit(url if "://" in url else f"nats://{url}")
        address = split.netloc.rpartition("@")[2]
        try:
            usable = split.scheme in ("nats", "tls", "ws", "wss") and split.hostname and split.port != 0
        except ValueError:  # the port is no number
            usable = False
        if not usable:
            raise TransportError(
                f"`{split.scheme}://{address}` is no URL of a NATS server: check the URL, as in nats://127.0.0.1:4222"
            )
        shown.append(f"{split.scheme}://{address}")
    return ",".join(shown)
