"""Findings: files that cannot be read as text."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0001",
        name="unreadable-file",
        message="cannot read {path}: {problem}",
        help="check that the file exists and that you may read it",
        explanation="The operating system refused to hand out the file. The message ends with its reason.",
    ),
    Entry(
        code="FL0002",
        name="binary-file",
        message="this is no text: there is a NUL byte at offset {offset}",
        help="a `.flow` file is plain text in UTF-8",
        explanation="Text has no NUL bytes. The file is most likely an archive, an image or a compiled program with "
        "the wrong name.",
    ),
    Entry(
        code="FL0003",
        name="not-utf8",
        message="the file is not UTF-8: {problem}",
        help="save the file as UTF-8",
        explanation="Source files are UTF-8, with or without a byte order mark. Files saved as Latin-1, Windows-1252 "
        "or UTF-16 have to be converted once; editors call it “save with encoding”.",
    ),
    Entry(
        code="FL0004",
        name="file-too-large",
        message="the file has {size} MB, and at most {limit} MB are read",
        help="split it into several files and import with `use`",
        explanation="A file that large is not written by hand. Generated workflows are better one `flow` with `each` "
        "over data than a thousand copies of a step.",
    ),
)
