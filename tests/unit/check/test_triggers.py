"""Triggers, from their text to the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from flowc import plan
from flowc.lower import lower
from flowc.types import DATE, STRING, Record, text

from .program import TASKS, checked

ORDER = "type Order = { id: string, amount: int }\n"


def triggers(head: str, params: str = "n: int = 1", more: str = "") -> plan.Plan:
    """The plan of a flow with these triggers; nothing is wrong with it."""
    program, findings = checked(f"{TASKS}{ORDER}{more}\nflow main({params}) {{\n{head}\nnumber(1)\n}}\n")
    assert [found for found in findings.sorted() if found.severity == "error"] == []
    found = lower(program, "main.flow:main")
    assert plan.decode(plan.encode(found)) == found
    return found


def only(head: str, params: str = "n: int = 1", more: str = "") -> plan.TriggerDef:
    (found,) = triggers(head, params, more).triggers
    return found


def as_data(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True)


def ms(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


# ---- times ----------------------------------------------------------------------------------------------------------


def test_cron() -> None:
    found = only(
        'trigger nightly = cron("15  4 * * *", tz: "Europe/Berlin", missed: "all", jitter: 1m, gap: "skip", '
        'overlap: "twice", holidays: [2026-12-25, 2026-01-01, 2026-12-25], start: 2026-07-01, end: 2027-01-01T12:00)'
    )
    assert found == plan.TriggerDef(
        name="nightly",
        line=11,
        source=plan.CronSource(
            expression="15 4 * * *",
            tz="Europe/Berlin",
            gap="skip",
            overlap="twice",
            holidays=("2026-01-01", "2026-12-25"),
        ),
        missed="all",
        jitter_ms=60_000,
        start_ms=ms(2026, 6, 30, 22),
        end_ms=ms(2027, 1, 1, 11),
    )


def test_intervals_and_certain_times() -> None:
    assert only("trigger a = interval(10m, origin: 2026-01-01T00:05)").source == plan.IntervalSource(
        every_ms=600_000, origin_ms=ms(2026, 1, 1, 0, 5)
    )
    times = only('trigger a = at([2027-01-01, 2026-12-31T23:00, 2026-12-31T22:00Z], tz: "Europe/Berlin")').source
    assert times == plan.AtSource(at_ms=(ms(2026, 12, 31, 22), ms(2026, 12, 31, 23)), tz="Europe/Berlin")


def test_constants_can_be_named() -> None:
    found = only("trigger a = cron(when, tz: zone)", more='let when = "0 4 * * *"\nlet zone = "Asia/Tokyo"\n').source
    assert found == plan.CronSource(expression="0 4 * * *", tz="Asia/Tokyo")


def test_holidays_of_a_country_are_always_the_same_years() -> None:
    pytest.importorskip("holidays")
    source = only('trigger a = cron("0 4 * * *", tz: "UTC", holidays: "DE-BY")').source
    assert isinstance(source, plan.CronSource)
    assert {day[:4] for day in source.holidays} == {str(year) for year in range(2020, 2046)}
    assert "2026-01-06" in source.holidays
    assert list(source.holidays) == sorted(source.holidays)


# ---- what arrives ---------------------------------------------------------------------------------------------------


def test_the_only_parameter_takes_the_body() -> None:
    found = triggers('trigger a = event("o", key: order.id, filter: event.body.amount > 1, dedupe: 1h)', "order: Order")
    (trigger,) = found.triggers
    body = ["attr", ["in", 0], "body"]
    assert trigger.args == (("order", body),)
    source = trigger.source
    assert isinstance(source, plan.EventSource)
    assert text(found.types[source.body]) == "{ id: string, amount: int }"
    assert source.key == ["attr", body, "id"]
    assert source.filter == ["op", ">", ["attr", body, "amount"], ["lit", 1]]
    assert source.dedupe_ms == 3_600_000


def test_arguments_read_the_event_and_the_run() -> None:
    found = triggers(
        'trigger a = event("o", dedupe: 1h, args: { id: "${event.key}-${run.date}", order: event.body, n: 2 })',
        "order: Order, id: string, n: int",
    )
    args = dict(found.triggers[0].args)
    assert args["id"] == ["str", ["attr", ["in", 0], "key"], ["lit", "-"], ["attr", ["in", 1], "date"]]
    assert args["order"] == ["attr", ["in", 0], "body"]
    assert args["n"] == ["lit", 2]
    source = found.triggers[0].source
    assert isinstance(source, plan.EventSource)
    assert isinstance(found.types[source.body], Record)


def test_a_body_that_nothing_takes_is_of_any_type() -> None:
    found = triggers('trigger a = event("o", dedupe: 1h, key: event.body.a.b)')
    source = found.triggers[0].source
    assert isinstance(source, plan.EventSource)
    assert text(found.types[source.body]) == "json"


@pytest.mark.parametrize(
    ("trigger", "param", "part"),
    [
        ('file("in/*.csv")', "path: file", "path"),
        ('file("in/*.csv")', "path: string", "path"),
        ("after_flow(other)", "n: int", "result"),
        ('dataset("s3://x")', "name: string", "dataset"),
        ("after_flow(other)", "end: { run: string, result: int }", None),
    ],
)
def test_the_part_that_fits_is_taken(trigger: str, param: str, part: str | None) -> None:
    found = only(f"trigger a = {trigger}", param, "flow other() returns int { return number(1) }\n")
    body = ["attr", ["in", 0], "body"]
    assert dict(found.args)[param.partition(":")[0]] == (body if part is None else ["attr", body, part])


def test_the_end_of_another_flow_has_its_type() -> None:
    other = 'flow other() returns Order { return { id: "a", amount: number(1) } }\n'
    found = triggers('trigger a = after_flow(other, on: "done", args: { n: 1 })', more=other)
    source = found.triggers[0].source
    assert isinstance(source, plan.FlowSource)
    assert (source.flow, source.on) == ("other", "done")
    assert text(found.types[source.body]).endswith("result: { id: string, amount: int }? }")


def test_webhooks() -> None:
    found = only(
        'trigger a = webhook("/orders", auth: hmac(secret("k")), scheme: "sha256=hex", header: "X-Sign", '
        "tolerance: 1m, max_size: 64KB, dedupe: 1h)"
    ).source
    assert isinstance(found, plan.WebhookSource)
    assert as_data(found) == {
        "kind": "webhook",
        "path": "/orders",
        "body": found.body,
        "secret": "k",
        "scheme": "sha256=hex",
        "header": "X-Sign",
        "tolerance_ms": 60_000,
        "max_bytes": 64_000,
        "dedupe_ms": 3_600_000,
    }
    assert as_data(only('trigger a = webhook("/a", auth: none)').source)["auth"] == "none"


def test_groups() -> None:
    found = triggers(
        'trigger a = any_of(event("o", type: Order, dedupe: 1h), cron("0 4 * * *", tz: "UTC"), '
        'args: { n: event.body?.amount ?? 0 }, missed: "skip")'
    )
    trigger = found.triggers[0]
    assert isinstance(trigger.source, plan.AnySource)
    assert [type(part) for part in trigger.source.sources] == [plan.EventSource, plan.CronSource]
    assert trigger.missed == "skip"
    assert trigger.args == (("n", ["??", ["attr?", ["attr?", ["in", 0], "body"], "amount"], ["lit", 0]]),)
    both = only(
        'trigger a = all_of(after_flow(other), any_of(dataset("a"), dataset("b")))', more='flow other() { note("a") }\n'
    )
    assert isinstance(both.source, plan.AllSource)
    assert isinstance(both.source.sources[1], plan.AnySource)


# ---- the flow -------------------------------------------------------------------------------------------------------


def test_settings_of_what_starts_by_itself() -> None:
    found = triggers(
        "catchup: true\ndepends_on_past: true\nmax_active_runs: 1\n"
        'trigger a = cron("0 4 * * *", tz: "UTC", start: 2026-01-01)'
    )
    assert (found.catchup, found.depends_on_past) == (True, True)


def test_children_keep_their_triggers_to_themselves() -> None:
    child = 'flow child(day: date = run.date) { trigger a = cron("0 4 * * *", tz: "UTC")\nnote("${day}") }\n'
    program, _ = checked(f"{TASKS}{child}flow main() {{ child() }}\n")
    found = lower(program, "main.flow:main")
    assert found.triggers == ()
    assert len(found.children["main.flow:child"].triggers) == 1


def test_variables_are_the_last_parameters() -> None:
    text_ = 'var region: string = "eu"\nvar day: date\nflow main(n: int) { note("${n} ${day} ${region}") }\n'
    program, _ = checked(TASKS + text_)
    found = lower(program, "main.flow:main")
    assert [param.name for param in found.params] == ["n"]
    assert [(known.name, found.types[known.type], known.default) for known in found.vars] == [
        ("day", DATE, None),
        ("region", STRING, ["lit", "eu"]),
    ]
    assert found.blocks[0].params == 4
    (call,) = found.blocks[0].nodes[4:]
    assert [edge.node for edge in call.inputs] == [1, 2, 3]


def test_variables_reach_loops_handlers_and_what_undoes() -> None:
    program, findings = checked(
        'var region: string = "eu"\n'
        'task drop(x: int) { run: shell("echo ${x} ${region}") }\n'
        'task make(x: int) returns int { run: shell("echo ${x}"), undo: drop(result) }\n'
        'flow main() {\n  on_failure: "compensate"\n  each i in [1, 2] { make(i) }\n'
        "  on failure(e) { drop(1) }\n}\n"
    )
    assert findings.sorted() == []
    found = lower(program, "main.flow:main")
    assert len(found.vars) == 1
    undo = [block for block in found.blocks if any(node.name.startswith("undo") for node in block.nodes)]
    (node,) = undo[0].nodes[undo[0].params :]
    assert isinstance(node, plan.TaskNode)
    assert dict(node.args).keys() == {"x", "region"}


# ---- service levels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "level"),
    [
        ("2h", plan.SlaDef(finish_ms=7_200_000)),
        ("gold", plan.SlaDef(name="gold", finish_ms=60_000, warn=0.5)),
        ("two", plan.SlaDef(finish_ms=120_000)),
        ("{ start: 5m }", plan.SlaDef(start_ms=300_000)),
        ("{ finish: 1h, start: 5m, warn: 0.8 }", plan.SlaDef(finish_ms=3_600_000, start_ms=300_000, warn=0.8)),
        ("p95", plan.SlaDef(quantile=0.95)),
        ("p95 * 1.5", plan.SlaDef(quantile=0.95, factor=1.5)),
        ("{ finish: 2 * p50 ?? 1h }", plan.SlaDef(quantile=0.5, factor=2.0, finish_ms=3_600_000)),
        ("{ finish: p999, warn: 0.5 }", plan.SlaDef(quantile=0.999, warn=0.5)),
    ],
)
def test_service_levels(written: str, level: plan.SlaDef) -> None:
    more = "sla gold { finish: 1m, warn: 0.5 }\nlet two = 2m\nsla other { start: 1s }\n"
    assert triggers(f"sla: {written}", more=more).sla == level


@pytest.mark.parametrize(
    "written", ["30", '"2h"', "{ }", "{ warn: 0.5, start: 1m }", "{ finish: 1h, start: 1h }", "{ finish: 1h, warn: 1 }",
                "silver", "p95 * 0", "p0", "3 * 4", "p95 ?? gold", "{ finish: 1h, sooner: 1m }"],
)  # fmt: skip
def test_what_is_no_service_level(written: str) -> None:
    _, findings = checked(f"{TASKS}flow main() {{\n  sla: {written}\n  number(1)\n}}\n")
    assert len([found for found in findings.sorted() if found.severity == "error"]) == 1


def test_service_levels_and_datasets_of_steps() -> None:
    head = (
        'number(1) with { sla: 1h, updates: dataset("a"), reads: [dataset("b"), dataset("c")] }'
        " on sla_miss(m) { note(m.what) }"
    )
    found = triggers(head)
    node = next(node for node in found.blocks[0].nodes if isinstance(node, plan.TaskNode))
    settings = found.settings[node.settings]
    assert settings.sla == plan.SlaDef(finish_ms=3_600_000)
    assert (settings.updates, settings.reads) == (("a",), ("b", "c"))
    (attached,) = node.on_sla_miss
    inside = found.blocks[attached.block]
    assert inside.params == 1
    assert text(found.types[inside.nodes[0].type]).startswith("{ flow: string, run: string, step: string, what:")


def test_levels_in_plain_settings() -> None:
    toml = '[defaults]\nsla = { finish = "p95 * 1.5 ?? 2h", warn = 0.8 }\n'
    program, findings = checked(f"{TASKS}flow main() {{ number(1) }}\n", toml=toml)
    assert findings.sorted() == []
    found = lower(program, "main.flow:main")
    assert found.settings[0].sla == plan.SlaDef(quantile=0.95, factor=1.5, finish_ms=7_200_000, warn=0.8)


def test_items_with_levels_are_steps_of_their_own() -> None:
    for row, is_simple in (("", True), ("with { sla: 1m }", False), ('with { updates: dataset("a") }', False)):
        found = triggers(f"each i in [1, 2] {{ number(i) {row} }}")
        (each,) = (node for node in found.blocks[0].nodes if isinstance(node, plan.EachNode))
        assert each.simple is is_simple


def test_what_waits_has_no_level() -> None:
    _, findings = checked("use std.wait { sleep }\nflow main() { sleep(1s) with { sla: 1m } }\n")
    assert [found.name for found in findings.sorted()] == ["misplaced-setting"]
    _, findings = checked('use std.wait { sleep }\ntask note(t: string) { run: shell("echo ${t}") }\n'
                          "flow main() { sleep(1s) on sla_miss(m) { note(m.step) } }\n")  # fmt: skip
    assert [found.name for found in findings.sorted()] == ["misplaced-construct"]
