"""All files and where they run: in memory one by one, over NATS all at the first need."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from .cases import Case, Spec, read_all
from .judge import SECRET
from .world import Nats, Outcome, Plans, in_memory

__all__ = ["CONFORMANCE", "PATTERNS", "SPECS", "Suite", "is_for_nats"]

_ROOT = Path(__file__).parents[2] / "specs"
CONFORMANCE, PATTERNS = _ROOT / "conformance", _ROOT / "patterns"
SPECS: list[Spec] = [*read_all(CONFORMANCE), *read_all(PATTERNS)]
#: what takes longer by its own account runs in virtual time only, in seconds
LONGEST_ON_NATS = 3.0
#: of the worker, for programs that use secrets
_ENVIRONMENT: Mapping[str, str] = {"FLOW_SECRET_API_KEY": SECRET}


def is_for_nats(case: Case) -> bool:
    return case.seconds <= LONGEST_ON_NATS


class Suite:
    """Runs cases; `folder` is for the server's store, and for files that programs write."""

    def __init__(self, folder: Path, specs: list[Spec] = SPECS) -> None:
        self._folder, self._specs = folder, specs
        self._plans = Plans()
        self._on_nats: dict[str, Any] | None = None

    def __enter__(self) -> Suite:
        self._before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)
        if str(CONFORMANCE) not in sys.path:  # as it is for a process that runs tasks
            sys.path.append(str(CONFORMANCE))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name, value in self._before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

    def in_memory(self, case: Case) -> list[Outcome]:
        return in_memory(CONFORMANCE, self._plans, case)

    def over_nats(self, case: Case) -> list[Outcome]:
        """All cases run side by side when the first of them is wanted. Raises what went wrong with this one."""
        if self._on_nats is None:
            nats = Nats(CONFORMANCE, Path(tempfile.mkdtemp(dir=self._folder)))
            try:
                self._on_nats = nats.play(self._plans, self._specs, is_for_nats)
            finally:
                nats.close()
        found = self._on_nats[f"{case.path}:{case.line}"]
        if isinstance(found, Exception):
            raise found
        outcomes: list[Outcome] = found
        return outcomes
