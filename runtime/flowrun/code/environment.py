"""Makes the environment that a code's dependencies ask for: a `venv` of the worker's own Python, with what they name.

The environment holds what they name and nothing of ours. Its interpreter is the worker's, so that what is compiled
fits; an executor that runs in it has the worker's folders last on its `sys.path` (see `worker.spawn`), where it finds
`flowrun`. So the versions that a project asks for win, and a package that we need, too, must suit both: what we ask of
it is given to the installer as a constraint, which tells a conflict before anything runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .dependencies import without_us
from .layout import CodeError

__all__ = ["interpreter", "make_environment", "python_tag"]

#: a preparation that takes longer is given up, in seconds
MOST_SECONDS = 900.0
#: of what the installer said, so many characters are in the failure
_LAST = 1_500
#: what executors import of others, the standard library's operators included
_OURS = ("msgspec", "uvloop", "nats-py", "zstandard", "pydantic", "httpx", "whenever", "cronsim")


def python_tag() -> str:
    """The interpreters that share environments."""
    return f"{sys.implementation.cache_tag}-{sys.platform}-{os.uname().machine}"


def interpreter(folder: Path) -> Path:
    """Of an environment."""
    return folder / "bin" / "python"


async def make_environment(folder: Path, code: Path, requirements: str, env: Mapping[str, str], lock: int = -1) -> None:
    """Makes the environment in `folder`, which must be new, from the file `requirements` of an unpacked code. `env` is
    that of the tools, `lock` the descriptor of what is held meanwhile, by them, too: they may outlive us. Raises
    CodeError: what failed and what the installer said last."""
    uv = shutil.which("uv", path=env.get("PATH"))
    with tempfile.TemporaryDirectory(prefix="flow-") as scratch:
        constraints = Path(scratch) / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in _constraints()))
        with _without_us(code / requirements) as wanted:
            arguments = ["-r", str(wanted), "-c", str(constraints)]
            for command in _commands(uv, folder, arguments):
                await _run(command, code, env, lock)
    if not interpreter(folder).exists():
        raise CodeError(f"the environment has no interpreter at {interpreter(folder)}")


def _commands(uv: str | None, folder: Path, arguments: Sequence[str]) -> list[list[str]]:
    python = str(interpreter(folder))
    if uv is not None:
        return [
            [uv, "venv", "--no-project", "--no-config", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--python", python, *arguments],
        ]
    install = ["install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location", *arguments]
    if importlib.util.find_spec("pip") is not None:  # ours does, and need not be installed again
        make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
        return [make, [sys.executable, "-m", "pip", "--python", python, *install]]
    return [[sys.executable, "-m", "venv", str(folder)], [python, "-m", "pip", *install]]


def _constraints() -> list[str]:
    """What we ask of the packages that an executor imports with us."""
    try:
        asked = importlib.metadata.requires("flowc") or []
    except importlib.metadata.PackageNotFoundError:
        return []  # it runs from its sources
    return [line for line in asked if re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() in _OURS and "extra ==" not in line]


@contextlib.contextmanager
def _without_us(requirements: Path) -> Iterator[Path]:
    """A file without the lines that ask for flowc, beside the one given: it may name others by their places."""
    text = requirements.read_text("utf-8-sig")
    kept = without_us(text)
    if kept == text:
        yield requirements
        return
    fd, name = tempfile.mkstemp(prefix=".requirements-", suffix=".txt", dir=requirements.parent)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(kept)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


async def _run(command: Sequence[str], cwd: Path, env: Mapping[str, str], lock: int) -> None:
    """Raises CodeError."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=cwd, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True, pass_fds=(lock,) if lock >= 0 else (),
        )  # fmt: skip
    except OSError as error:
        raise CodeError(f"the dependencies cannot be installed: {command[0]}: {error.strerror}") from None
    try:
        async with asyncio.timeout(MOST_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        raise CodeError(f"installing the dependencies took longer than {MOST_SECONDS:g} s and was given up") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        raise CodeError(f"the dependencies cannot be installed: {_told(said)}")


def _told(said: bytes) -> str:
    """What the installer said last, and first of all what it calls an error: it names the package."""
    lines = [line.rstrip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"\s*(ERROR|error|×)", line)]
    text = "\n".join(errors[:5] + [line for line in lines[-12:] if line not in errors[:5]])
    return text[-_LAST:] or "the installer said nothing"
