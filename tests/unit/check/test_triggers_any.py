"""Whatever is written as a trigger compiles, or is told; nothing raises."""

from __future__ import annotations

from flowc import plan
from flowc.check.sources import ARGUMENTS
from flowc.lower import lower
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .program import checked

HEAD = """
type Order = { id: string, amount: int }
let base = "x"
var region: string = "eu"
sla gold { finish: 1h }
task number(x: int) returns int { run: shell("echo ${x} ${region}") }
flow other() returns int { return number(1) }
"""
PARAMS = ("", "n: int", "order: Order", "n: int = 1", "order: Order, n: int", "event: int", "n: int?")
VALUES = (
    *('"0 4 * * *"', '"UTC"', '"Europe/Berlin"', "10m", "2026-01-01", "2026-01-01T10:00", "[2026-01-01]", "[]", "{}"),
    *("null", "true", "3", "-1", "1.5", "order", "order.id", "event", "event.body", "event.body.id", "run.id", "n"),
    *("none", 'secret("k")', 'hmac(secret("k"))', 'hmac("x")', "number(1)", "number", "other", '"other"', "Order"),
    *('dataset("a")', '"a.b"', '"/x"', '"in/*.csv"', "json", "region", "base", "gold", '"latest"', '"run"', "64KB"),
    *("{ order: event.body }", "{ n: 1 }", "[x for x in [1]]", "if true then 1 else 2", '"${event.id}"', "x?.y"),
    *("a -> b", "each i in [1] { number(i) }", "_", 'cron("0 4 * * *", tz: "UTC")', 'event("a")', "p95 * 1.5"),
)
_values = st.sampled_from(VALUES)


@st.composite
def sources(draw: st.DrawFn, depth: int = 0) -> str:
    """A source with some of its arguments, and some of others."""
    name = draw(st.sampled_from(sorted(ARGUMENTS)))
    args = [draw(_values)] if ARGUMENTS[name] and draw(st.booleans()) else []
    if name in ("any_of", "all_of"):
        args = draw(st.lists(sources(depth + 1) if depth < 2 else _values, max_size=3))
    keys = [*ARGUMENTS[name], "args", "missed", "jitter", "start", "end", "bogus"]
    args += [f"{key}: {draw(_values)}" for key in draw(st.lists(st.sampled_from(keys), max_size=3))]
    return f"{name}({', '.join(args)})"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PARAMS), st.lists(sources(), min_size=1, max_size=2), _values)
def test_any_trigger_compiles_or_is_told(params: str, written: list[str], level: str) -> None:
    triggers = "\n".join(f"  trigger t{i} = {source}" for i, source in enumerate(written))
    program, findings = checked(f"{HEAD}flow main({params}) {{\n{triggers}\n  sla: {level}\n  number(1)\n}}\n")
    if not findings.has_errors:
        found = lower(program, "main.flow:main")
        assert plan.decode(plan.encode(found)) == found
        assert len(found.triggers) == len(written)
