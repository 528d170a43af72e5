"""External stores of secrets: plug-ins by the entry point group `flow.secrets`, two of them our own.

An entry point names a function without parameters that gives a `Store`, or None where nothing says that the store is
to be used (its environment variables are not set). They are asked in the order of their names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import cast

from .errors import SecretError
from .sources import Store

__all__ = ["GROUP", "Plugins", "open_store"]

GROUP = "flow.secrets"
_Opener = Callable[[], Store | None]
#: ship with the runtime: so they work without being installed anew
_OWN = {"aws": "flowrun.secrets.aws:open_store", "vault": "flowrun.secrets.vault:open_store"}


def _openers() -> dict[str, Callable[[], _Opener]]:
    """What opens each store, imported when it is called."""
    from importlib.metadata import entry_points  # 10 ms and more, and most processes need none

    found = {name: _importer(target) for name, target in _OWN.items()}
    found |= {entry.name: cast(Callable[[], _Opener], entry.load) for entry in entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def _importer(target: str) -> Callable[[], _Opener]:
    module, _, name = target.partition(":")
    return lambda: cast(_Opener, getattr(import_module(module), name))


def open_store(name: str) -> Store:
    """The store of this name. Raises SecretError if it is not known, or not configured."""
    openers = _openers()
    if name not in openers:
        known = ", ".join(f"`{one}`" for one in openers)
        raise SecretError(f"there is no store `{name}`: {known} are known here; a plug-in brings others")
    store = _open(name, openers[name])
    if store is None:
        raise SecretError(f"the store `{name}` is not configured: the reference says which variables it needs")
    return store


def _open(name: str, load: Callable[[], _Opener]) -> Store | None:
    try:
        return load()()
    except ImportError as error:
        raise SecretError(f"the plug-in `{name}` cannot be imported: {error}") from None


class Plugins:
    """All stores that are configured, opened when they are first needed."""

    def __init__(self) -> None:
        self._stores: dict[str, Store] | None = None
        self._lock = threading.Lock()

    def get(self, key: str) -> str | None:
        """From the first one that has it. Blocks. Raises SecretError."""
        for name, store in self._opened().items():
            try:
                found = store.get(key)
            except SecretError:
                raise
            except Exception as error:  # a plug-in's own: its message may hold what it was told
                raise SecretError(f"the store `{name}` fails: {type(error).__name__}") from None
            if found is not None:
                return found
        return None

    def _opened(self) -> dict[str, Store]:
        with self._lock:
            if self._stores is None:
                opened = {name: _open(name, load) for name, load in _openers().items()}
                self._stores = {name: store for name, store in opened.items() if store is not None}
            return self._stores

    def how(self, key: str) -> str:
        names = list(self._stores or ())
        return f"put it into {' or '.join(names)}" if names else ""
