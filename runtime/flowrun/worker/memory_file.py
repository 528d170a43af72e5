"""The file behind the memory that an executor shares with its agent (see `shared`)."""

from __future__ import annotations

import os

__all__ = ["CAPACITY", "CELLS", "MOST_CELLS", "START", "create_file"]

#: where the cells of running units begin, 16 bytes each, and how many there are
CELLS, MOST_CELLS = 64, 1024
#: before the ring of results, in bytes
START = CELLS + 16 * MOST_CELLS
#: room for results, in bytes; a record must fit
CAPACITY = 1 << 20


def create_file() -> int:
    """A file descriptor of anonymous memory."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("flow-executor")
    else:
        import tempfile  # slow to import, and Linux does not need it

        fd, path = tempfile.mkstemp(prefix="flow-executor")
        os.unlink(path)  # noqa: PTH108 (pathlib is not needed otherwise)
    os.ftruncate(fd, START + CAPACITY)
    return fd
