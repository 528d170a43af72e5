"""Every case of `specs/conformance` and `specs/patterns`, on both transports; and what is refused, by the compiler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cases import Case
from .judge import findings
from .suite import PATTERNS, SPECS, Suite, is_for_nats

CASES = [case for spec in SPECS for case in spec.cases]
IN_MEMORY = [case for case in CASES if not case.in_processes]
ON_NATS = [case for case in CASES if is_for_nats(case)]


def name(case: Case) -> str:
    return f"{case.path.parent.name}/{case.path.stem}:{case.line}"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with Suite(tmp_path_factory.mktemp("conformance")) as suite:
        yield suite


def test_there_are_many() -> None:
    assert len([spec for spec in SPECS if not spec.path.is_relative_to(PATTERNS)]) >= 90
    assert len(CASES) >= 150


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.path.parent.name}/{spec.path.stem}")
def test_the_compiler_finds_what_is_marked_and_nothing_else(spec) -> None:  # type: ignore[no-untyped-def]
    assert not findings(spec)


@pytest.mark.parametrize("case", IN_MEMORY, ids=name)
def test_in_memory(suite: Suite, case: Case) -> None:
    wrong = suite.in_memory(case)
    assert not wrong, f"{case.path}:{case.line}: {case.title}\n" + "\n".join(wrong)


@pytest.mark.parametrize("case", ON_NATS, ids=name)
def test_over_nats(suite: Suite, case: Case) -> None:
    wrong = suite.over_nats(case)
    assert not wrong, f"{case.path}:{case.line}: {case.title}\n" + "\n".join(wrong)
