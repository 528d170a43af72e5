"""Tells systemd how a service does: a datagram to the socket that NOTIFY_SOCKET names (see sd_notify(3))."""

from __future__ import annotations

import os
import socket

__all__ = ["tell_systemd"]


def tell_systemd(state: str) -> bool:
    """`state`: "READY=1", "STOPPING=1", "STATUS=…". False, and nothing happens, where nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False  # who asked is gone: nothing of ours depends on it
    return True
