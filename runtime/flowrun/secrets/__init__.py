"""Secrets: where they come from (`resolver`), and those that are kept on the server, sealed (`sealed_store`).

environment FLOW_SECRET_X → folder of files → entries of the server → plug-ins
"""

from __future__ import annotations

from .errors import SecretError, SecretMissing
from .keys import Key, KeyRing, load_keys
from .resolver import Resolver
from .sealed_store import SealedStore, SecretInfo
from .sources import Source, Store

__all__ = ["Key", "KeyRing", "Resolver", "SealedStore", "SecretError", "SecretInfo", "SecretMissing", "Source", "Store",
           "load_keys"]  # fmt: skip
