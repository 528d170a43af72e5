"""The beginning of an executor process: it imports, quickly, and serves.

A run waits for its first executor, and whatever that imports is imported again for every slot and after every task
that had to be killed.
"""

from __future__ import annotations

import gc
import sys

__all__ = ["start"]


def start() -> None:
    """Arguments as `executor.main` has them."""
    gc.disable()  # nothing of what is imported is garbage
    _import_msgspec()
    from .executor import main  # after the above

    gc.freeze()
    gc.enable()
    main()


def _import_msgspec() -> None:
    """Without typing_extensions, which msgspec takes if it is there, for the sake of Pythons older than ours, and
    which takes a third of its time."""
    absent: dict[str, object] = {"typing_extensions": None}
    sys.modules.update(absent)  # type: ignore[arg-type]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
