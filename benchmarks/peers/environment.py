"""The virtual environment of the peers, outside of the repository, made anew when `requirements.txt` changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["EnvironmentFailed", "peers_environment"]

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class EnvironmentFailed(Exception):
    """The peers' packages cannot be installed; with pip's last words."""


def peers_environment() -> Path:
    """Its `bin` folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowc-benchmarks"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache / f"peers-{digest}"
    done = folder / "installed"
    if not done.exists():
        print(f"# installing the peers into {folder}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(folder)])
        _call([str(folder / "bin" / "pip"), "install", "--quiet", "--requirement", str(REQUIREMENTS)])
        done.touch()
    return folder / "bin"


def _call(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip().startswith("ERROR")]
        raise EnvironmentFailed(f"{' '.join(command[:2])}: {(lines or result.stderr.splitlines() or ['failed'])[-1]}")
