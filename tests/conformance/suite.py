"""All files and where they run: in memory one by one, over NATS all at the first need."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.modules import modules_of

from .cases import Case, Spec, read_all
from .judge import SECRET, differences
from .world import Nats, Plans, in_memory

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
        #: what ran twice over NATS
        self.again: list[Case] = []

    def __enter__(self) -> Suite:
        self._before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)
        self._modules = modules_of(CONFORMANCE)  # as it is for a process that runs tasks
        self._modules.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._modules.__exit__(kind, error, at)
        for name, value in self._before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)

    def in_memory(self, case: Case) -> list[str]:
        """What is wrong with a case in memory, where times are exact."""
        try:
            return differences(case, in_memory(CONFORMANCE, self._plans, case), exact=True)
        except Exception as error:  # whatever it is, it is this case's, and the others go on
            return [f"{type(error).__name__}: {error}"]

    def over_nats(self, case: Case) -> list[str]:
        """What is wrong with a case over NATS. All cases run side by side when the first of them is wanted. The clock
        is real there, and a busy machine makes things late: what seems wrong runs once more, alone on a new server."""
        if self._on_nats is None:
            self._on_nats = self._played(self._specs, is_for_nats)
        wrong = self._over_nats(case, self._on_nats)
        if wrong:
            self.again.append(case)
            spec = next(spec for spec in self._specs if case in spec.cases)
            wrong = self._over_nats(case, self._played([spec], lambda other: other is case))
        return wrong

    def _played(self, specs: list[Spec], wanted: Callable[[Case], bool]) -> dict[str, Any]:
        nats = Nats(CONFORMANCE, Path(tempfile.mkdtemp(dir=self._folder)))
        try:
            return nats.play(self._plans, specs, wanted)
        finally:
            nats.close()

    def _over_nats(self, case: Case, played: Mapping[str, Any]) -> list[str]:
        found = played[f"{case.path}:{case.line}"]
        if isinstance(found, Exception):
            return [f"{type(found).__name__}: {found}"]
        return differences(case, found, exact=False)
