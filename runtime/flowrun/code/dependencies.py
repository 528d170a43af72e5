"""Which packages a project's code needs, as lines of a requirements file, and a hash that stands for them.

One file counts: `requirements.txt`, as it is; else `uv.lock`, as `uv export` writes it; else the `dependencies` of
`pyproject.toml`. The first two say versions, and are the better choice. Whatever was the source, a node reads lines in
the form of pip, so that it needs no other tool.

The hash covers the lines and all files of the project that they name (`-r base.txt`, `--find-links wheels`,
`./lib`): codes with the same dependencies share an environment.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath

import msgspec

from .layout import GENERATED, CodeError

__all__ = ["Dependencies", "find_dependencies", "without_us"]

_REQUIREMENTS, _LOCK, _PROJECT = "requirements.txt", "uv.lock", "pyproject.toml"
#: `uv export` reads a file; it takes no network
_EXPORT = ("export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate", "--quiet")
_EXPORT_TIME = 60.0
#: a line that asks for ourselves, with the lines that it goes on with
_OWN = re.compile(
    r"^[ \t]*flowc[ \t]*(?:\[[^]\n]*])?[ \t]*(?:[<>=!~;@#\\](?:[^\n]*\\\n)*[^\n]*)?(?:\n|\Z)", re.I | re.M
)
_EDITABLE = re.compile(r"\s*(?:-e|--editable)\b")

#: by name: content, and whether it may be executed
_Files = Mapping[str, tuple[bytes, bool]]


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """What a code needs."""

    #: the file that it comes from; "": it needs nothing
    source: str = ""
    #: the member of the code that has the lines
    member: str = ""
    #: the lines
    text: str = ""
    #: stands for them
    digest: str = ""


def find_dependencies(root: Path, files: _Files) -> Dependencies:
    """Of the project at `root`, whose packed files these are. Raises CodeError."""
    if _REQUIREMENTS in files:
        source, member, text = _REQUIREMENTS, _REQUIREMENTS, _decoded(files, _REQUIREMENTS)
    elif _LOCK in files and _PROJECT in files:
        source, member, text = _LOCK, GENERATED, _exported(root)
    elif _PROJECT in files:
        source, member, text = _PROJECT, GENERATED, _declared(_decoded(files, _PROJECT))
    else:
        return Dependencies()
    if not any(_lines(text)):
        return Dependencies()
    return Dependencies(source=source, member=member, text=text, digest=_digest(source, text, files))


def _decoded(files: _Files, name: str) -> str:
    try:
        return files[name][0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CodeError(f"{name} is not UTF-8 text (byte {error.start})") from None


def without_us(text: str) -> str:
    """Requirements without flowc: a node has its own version, which its executors must have, too."""
    return _OWN.sub("", text)


def _lines(text: str) -> Iterator[str]:
    """What it asks for."""
    for line in without_us(text).replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            yield line


def _exported(root: Path) -> str:
    uv = shutil.which("uv")
    if uv is None:
        raise CodeError(
            "the project's dependencies are in uv.lock, and `uv` is not on PATH to read it: install uv, or write them "
            "down with `uv export --no-dev --no-emit-project -o requirements.txt`, which is taken first"
        )
    try:
        done = subprocess.run(
            [uv, *_EXPORT], cwd=root, capture_output=True, text=True, timeout=_EXPORT_TIME, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CodeError(f"`uv export` cannot be run on uv.lock: {error}") from None
    if done.returncode != 0:
        raise CodeError(f"`uv export` cannot read uv.lock: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _declared(text: str) -> str:
    try:
        project = tomllib.loads(text).get("project", {})
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CodeError(f"pyproject.toml cannot be read: {error}") from None
    if not isinstance(project, dict):
        raise CodeError("pyproject.toml: `project` is no table")
    if "dependencies" in project.get("dynamic", ()):
        raise CodeError(
            "pyproject.toml leaves its dependencies to the build (`dynamic`): write them into requirements.txt"
        )
    lines = project.get("dependencies", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise CodeError('pyproject.toml: `dependencies` of `project` is no list of lines such as "requests>=2"')
    return "".join(f"{line}\n" for line in lines)


# ---- the hash


def _digest(source: str, text: str, files: _Files) -> str:
    state = hashlib.blake2b(digest_size=16)
    seen: set[str] = set()
    waiting = [(source, text, "")]
    while waiting:
        name, text, folder = waiting.pop()
        for line in _lines(text):
            if _EDITABLE.match(line):
                raise CodeError(
                    f"{name} has the line `{line}`: what is installed for editing cannot be deployed; the project's "
                    "own modules are found without it (`python` in flow.toml)"
                )
            state.update(line.encode() + b"\n")
            for found in _named(line, folder, files):
                if found not in seen:
                    seen.add(found)
                    state.update(found.encode() + b"\0" + files[found][0])
                    if re.match(r"\s*(-r|--requirement|-c|--constraint)\b", line):
                        waiting.append((found, _decoded(files, found), str(PurePosixPath(found).parent)))
    return state.hexdigest()


def _named(line: str, folder: str, files: _Files) -> Iterator[str]:
    """The files of the project that a line names; of a folder all."""
    for word in re.split(r"[\s=]+", line):
        path = normpath(f"{folder}/{word}" if folder else word)
        if path in files:
            yield path
        elif word.startswith(".") or line.startswith("-"):
            inside = "" if path == "." else f"{path}/"
            yield from (name for name in files if name.startswith(inside))
