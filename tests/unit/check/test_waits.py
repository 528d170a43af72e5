"""What waits, as the checker and the lowering make it."""

from __future__ import annotations

from flowc.ir import CallStep, JoinStep
from flowc.lower import lower
from flowc.plan import JoinNode, SignalDef, WaitNode
from flowc.types import INT, JSON

from .program import checked

HEAD = """
use std.wait { signal, sleep }
signal go: int
"""


def test_a_signal_that_nothing_waits_for_is_told() -> None:
    _, findings = checked(HEAD + "flow main() { sleep(1s) }")
    assert "unused-resource" in [found.name for found in findings.sorted()]


def test_a_signal_that_is_named_as_text_has_its_type_and_is_used() -> None:
    program, findings = checked(HEAD + 'flow main() { sleep(1s)\n signal("go") }')
    assert not findings.sorted()
    step = program.flows["main.flow:main"].body.steps[1]
    assert isinstance(step, CallStep)
    assert step.type == "int"


def test_the_plan_knows_the_signals_of_its_flow() -> None:
    text = (
        HEAD
        + """
    flow inner() { signal("inner") }
    flow main(x: string) { sleep(1s)
      signal(go)
      signal("a${x}")
      inner()
    }"""
    )
    program, _ = checked(text)
    plan = lower(program, "main.flow:main")
    assert [(one.name, plan.types[one.type]) for one in plan.signals] == [("go", INT), ("", JSON)]
    (child,) = plan.children.values()
    assert [one.name for one in child.signals] == ["inner"]
    assert child.signals == (SignalDef(name="inner", type=child.signals[0].type),)


def test_a_wait_is_a_node_of_its_own_with_few_settings() -> None:
    text = (
        HEAD
        + """
    flow main() {
      defaults: { retry: 3, timeout: 1m, queue: "default" }
      sleep(1s)
      signal(go) with { timeout: 2m, delay: 1s, tags: ["x"] }
    }"""
    )
    program, findings = checked(text)
    assert not findings.has_errors
    plan = lower(program, "main.flow:main")
    sleep, signal = [node for node in plan.blocks[0].nodes if isinstance(node, WaitNode)]
    assert (sleep.waits_for, signal.waits_for) == ("sleep", "signal")
    assert plan.tasks == ()
    assert plan.settings[sleep.settings].timeout_ms is None
    settings = plan.settings[signal.settings]
    assert (settings.timeout_ms, settings.delay_ms, settings.retry, settings.tags) == (120_000, 1_000, None, ("x",))


def test_a_join_over_names_gives_a_record_of_optionals() -> None:
    text = (
        HEAD
        + """
    flow main() returns json {
      return { a: signal(go), b: sleep(1s) } with { join: "first" }
    }"""
    )
    program, findings = checked(text)
    assert not findings.has_errors
    join = next(step for step in program.flows["main.flow:main"].body.steps if isinstance(step, JoinStep))
    assert (join.type, join.names) == ("{ a: int?, b: datetime? }", ("a", "b"))
    node = next(node for node in lower(program, "main.flow:main").blocks[0].nodes if isinstance(node, JoinNode))
    assert node.names == ("a", "b")
