"""std.files: files of the project. Paths are relative to its folder; writing replaces the whole file at once."""

from __future__ import annotations

import csv
import glob as patterns
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

from flowrun.operator import Fail

__all__ = [
    "read_csv", "read_json", "read_text", "write_csv", "write_json", "write_text",
    "copy", "exists", "file_size", "glob", "list_folder", "move", "remove", "sha256",
]  # fmt: skip


def read_text(path: str) -> str:
    """The text of a file, in UTF-8."""
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            return file.read()
    except UnicodeDecodeError as error:
        raise Fail(f"{path} is no text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from None


def write_text(path: str, text: str) -> str:
    """Writes a text and gives the path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + ".part")
    unfinished.write_text(text, encoding="utf-8", newline="")
    unfinished.replace(target)
    return path


def read_json(path: str) -> Any:
    """The value in a JSON file."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise Fail(f"{path} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None


def write_json(path: str, value: Any) -> str:
    """Writes a value as JSON and gives the path."""
    return write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_csv(path: str, delimiter: str) -> list[dict[str, str]]:
    """The rows by the names in the first line."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise Fail(f"{path}: line {reader.line_num} does not have as many values as the first line has names")
        rows.append(row)
    return rows


def write_csv(path: str, rows: list[Any], delimiter: str) -> str:
    """Writes records as CSV; a record without a name of the first one has an empty value there."""
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text,
        list(names),
        delimiter=delimiter,
        lineterminator="\n",
        # minimal quoting would leave a carriage return bare
        quoting=csv.QUOTE_ALL if _has_return(rows) else csv.QUOTE_MINIMAL,
    )
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


def _has_return(rows: list[Any]) -> bool:
    return any("\r" in str(cell) for row in rows for cell in (*row, *row.values()))


def glob(pattern: str) -> list[str]:
    """The paths that match a pattern, sorted."""
    return sorted(patterns.glob(pattern, recursive=True))  # noqa: PTH207 (the pattern may be absolute)


def list_folder(path: str) -> list[str]:
    """What is in a folder, as sorted paths."""
    return sorted(str(entry) for entry in Path(path).iterdir())


def copy(source: str, target: str) -> str:
    """Copies a file and gives the path of the copy."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(target + ".part")
    shutil.copyfile(source, unfinished)
    unfinished.replace(target)
    return target


def move(source: str, target: str) -> str:
    """Moves a file; nothing is left to do if it was moved before."""
    if Path(source).exists() or not Path(target).exists():
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    return target


def remove(path: str) -> bool:
    """Removes a file, or a folder with all that is in it; tells whether it was there."""
    target = Path(path)
    if target.is_dir() and not target.is_symlink():
        if target.resolve() == Path.cwd():
            raise Fail("the project's folder itself is not removed")
        shutil.rmtree(target)
        return True
    there = target.exists() or target.is_symlink()
    target.unlink(missing_ok=True)
    return there


def exists(path: str) -> bool:
    """Whether there is a file or a folder."""
    return Path(path).exists()


def file_size(path: str) -> int:
    """The size of a file in bytes."""
    return Path(path).stat().st_size


def sha256(path: str) -> str:
    """The SHA-256 of a file, as hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
