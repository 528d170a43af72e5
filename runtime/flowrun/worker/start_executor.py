"""The beginning of an executor process: it imports, quickly, and serves.

A run waits for its first executor, and whatever that imports is imported again for every slot and after every task
that had to be killed.
"""

from __future__ import annotations

import gc

__all__ = ["start"]


def start() -> None:
    """Arguments as `executor.main` has them."""
    gc.disable()  # nothing of what is imported is garbage
    from .executor import main  # after the above

    gc.freeze()
    gc.enable()
    main()
