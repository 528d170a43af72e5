"""Plans of flows as they are written, for the engine's tests."""

from __future__ import annotations

from flowc.lower import lower
from flowc.plan import Plan, decode, encode

from tests.unit.check.program import checked

__all__ = ["plan_of"]


def plan_of(text: str, flow: str = "main") -> Plan:
    """The plan of a flow of a text without errors."""
    program, findings = checked(text)
    errors = [f"{found.name}: {found.message}" for found in findings.sorted() if found.severity == "error"]
    assert not errors, errors
    return decode(encode(lower(program, f"main.flow:{flow}")))
