"""How long flows take by what they declare, calendars, and what is told of both."""

from __future__ import annotations

import pytest
from flowc import ir
from flowc.check.calendars import CalendarError, days_in, days_of_country
from flowc.check.durations import attempts_ms, backoff_ms, shown_ms, sum_of_attempts

from .program import TASKS, checked, names

MINUTE = 60_000


# ---- durations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (1_500, "1s500ms"), (90 * MINUTE, "1h30m"), (25 * 60 * MINUTE, "1d1h")]
)
def test_durations_are_shown_in_their_units(ms: int, text: str) -> None:
    assert shown_ms(ms) == text


@pytest.mark.parametrize(
    ("retry", "ms"),
    [
        (None, 0),
        (ir.Retry(max=0), 0),
        (ir.Retry(max=3, backoff="fixed", first_ms=10), 30),
        (ir.Retry(max=3, backoff="linear", first_ms=10), 60),
        (ir.Retry(max=3, backoff="exponential", first_ms=10), 70),
        (ir.Retry(max=3, backoff="exponential", first_ms=10, cap_ms=15), 40),
        (ir.Retry(max=1_000_000, backoff="fixed", first_ms=10), 10_000_000),
    ],
)
def test_waits_between_attempts(retry: ir.Retry | None, ms: int) -> None:
    assert backoff_ms(retry) == ms


def test_attempts_as_a_sum() -> None:
    settings = ir.Settings(timeout_ms=20 * MINUTE, retry=ir.Retry(max=2, backoff="fixed", first_ms=45_000))
    assert attempts_ms(settings) == 61 * MINUTE + 30_000
    assert sum_of_attempts(settings) == "3 × 20m + 1m30s backoff = 1h1m30s"
    assert attempts_ms(ir.Settings(retry=ir.Retry(max=2))) is None


# ---- the way through a flow -----------------------------------------------------------------------------------------


def told(body: str, more: str = "", name: str = "sla-below-critical-path") -> list[str]:
    """What is said of a flow's times by one finding."""
    _, findings = checked(f"{TASKS}{more}\nflow main(c: bool = true) {{\n{body}\n}}\n")
    assert not findings.has_errors, findings.sorted()
    return [found.message for found in findings.sorted() if found.name == name]


TEN = "with { timeout: 10m }"


@pytest.mark.parametrize(
    ("steps", "longest"),
    [
        (f"a = number(1) {TEN}\nnumber(a) {TEN}", "20m"),
        (f"a = number(1) {TEN}\nb = number(2) {TEN}\nnumber(a + b) {TEN}", "20m"),
        (f"a = number(1) {TEN}\nb = number(2) {TEN}", None),
        (f"a = number(1) {TEN}\nnumber(2) {TEN} after a", "20m"),
        (f"if c {{ a = number(1) {TEN}\nnumber(a) {TEN} }} else {{ number(3) {TEN} }}", "20m"),
        (f"each i in [1, 2] {{ a = number(i) {TEN}\nnumber(a) {TEN} }}", "20m"),
        (f"a = number(1) {TEN} catch(e) {{ return number(2) with {{ timeout: 1h }} }}", None),
        (f"a = number(1) {TEN} on failure(e) {{ number(2) with {{ timeout: 1h }} }}", None),
        (f"using x = number(1) {TEN} {{ number(x) {TEN} }} finally {{ number(x) {TEN} }}", "30m"),
        ("child()", "30m"),
        ("child() with { timeout: 12m }", None),
        ("a = endless(1)", None),
        (f'a = [number(1) {TEN}, number(2) {TEN}] with {{ join: "first" }}\nnumber(a) {TEN}', "20m"),
    ],
)
def test_the_longest_way(steps: str, longest: str | None) -> None:
    more = (
        f"flow child() {{ a = number(1) {TEN}\nb = number(a) {TEN}\nnumber(b) {TEN} }}\n"
        "flow endless(n: int) { max_depth: 3\nif n > 0 { endless(n - 1) } }\n"
    )
    found = told(f"sla: 15m\n{steps}", more)
    wanted = f"if each step takes as long as its `timeout` lets it, the run takes {longest}; its `sla` is 15m"
    assert found == ([] if longest is None else [wanted])


def test_waits_make_intervals_too_short() -> None:
    more = "use std.wait { sleep }\n"

    def found(body: str) -> list[str]:
        _, findings = checked(f"{more}{TASKS}\nflow main(c: bool = true) {{\n{body}\n}}\n")
        return [one.message for one in findings.sorted() if one.name == "interval-shorter-than-runtime"]

    assert found("trigger a = interval(10m)\nsleep(6m)\nsleep(6m)") == []
    assert found("trigger a = interval(10m)\na = sleep(6m)\nsleep(6m) after a") == [
        "a run starts every 10m, and each takes at least 12m"
    ]
    assert found('trigger a = cron("0,5 * * * *", tz: "UTC")\nsleep(6m)') == [
        "a run starts every 5m, and each takes at least 6m"
    ]
    assert found("trigger a = interval(10m)\nif c { sleep(1h) }") == []
    assert found('trigger a = any_of(interval(10m), event("a", dedupe: 1h))\nnumber(1) with { delay: 11m }') == [
        "a run starts every 10m, and each takes at least 11m"
    ]


def test_retries_of_handlers_do_not_count() -> None:
    row = "with { timeout: 20m, retry: 5 }"
    assert told(f"sla: 30m\nnumber(1)\non sla_miss(m) {{ number(2) {row} }}", name="retries-exceed-sla") == []
    assert told(f"sla: 30m\nnumber(1) on failure(e) {{ number(2) {row} }}", name="retries-exceed-sla") == []
    (found,) = told(f"sla: 30m\nnumber(1) {row}", name="retries-exceed-sla")
    assert found == "`number` (line 11) may take 6 × 20m + 31s backoff = 2h31s, longer than the `sla` of 30m"


@pytest.mark.parametrize(
    ("flow", "is_told"),
    [
        ("flow main() { number(1)\non sla_miss(m) { note(m.step) } }", True),
        ("flow main() { sla: 1h\nnumber(1)\non sla_miss(m) { note(m.step) } }", False),
        ("flow main() { each i in [1] { number(i) with { sla: 1m } }\non sla_miss(m) { note(m.step) } }", False),
        ("flow main() { middle()\non sla_miss(m) { note(m.step) } }", False),
        ("flow main() { bare()\non sla_miss(m) { note(m.step) } }", True),
        ("flow main() { middle() with { detached: true }\non sla_miss(m) { note(m.step) } }", True),
        ("flow main() { number(1) on sla_miss(m) { note(m.step) } }", True),
        ("flow main() { middle() on sla_miss(m) { note(m.step) } }", False),
        (
            "flow main() { one(1) with { sla: 1m } }\nchain one(x: int) = number(x) on sla_miss(m) { note(m.step) }",
            False,
        ),
    ],
)
def test_handlers_of_misses_that_never_come(flow: str, is_told: bool) -> None:
    more = "flow inner() { sla: 1h\nnumber(1) }\nflow middle() { inner() }\nflow bare() { number(1) }\n"
    assert ("sla-miss-never-comes" in names(TASKS + more + flow + "\n")) is is_told


def test_a_deadline_bounds_attempts() -> None:
    row = "with { timeout: 20m, retry: 5, deadline: 25m }"
    assert told(f"sla: 30m\nnumber(1) {row}", name="retries-exceed-sla") == []
    (found,) = told(f"number(1) {row}", name="retries-exceed-timeout")
    assert found.startswith("the step may take 6 × 20m")


def test_loops_are_found_through_child_flows() -> None:
    text = (
        f'{TASKS}flow leaf() {{ number(1) with {{ updates: dataset("a") }} }}\n'
        'flow one() { trigger x = dataset("b")\nleaf() }\n'
        'flow two() { trigger x = any_of(dataset("a"), interval(1h))\nnumber(1) with { updates: dataset("b") } }\n'
    )
    assert names(text) == ["trigger-loop"]
    assert names(text.replace('dataset("b")\nleaf', "interval(1h)\nleaf")) == []
    assert names(text.replace("any_of", "all_of")) == []
    both = 'trigger x = all_of(dataset("a"), after_flow(own))\nnumber(1) with { updates: dataset("a") }'
    assert names(f"{TASKS}flow own() {{ {both} }}\n") == ["trigger-loop"]
    assert names(f"{TASKS}flow own() {{ trigger x = after_flow(own)\nnumber(1) }}\n") == ["trigger-loop"]


def test_variables_are_one_thing_in_the_environment() -> None:
    task = 'task t(a: int) { run: shell("echo ${a}") }\n'
    main = f'use "lib.flow" {{ other }}\nvar n: int = 1\n{task}flow main {{ t(n)\nother() }}\n'
    lib = f"var n: int = 2\n{task}flow other {{ t(n) }}\n"
    _, findings = checked(main, lib_flow=lib)
    assert [found.name for found in findings.sorted()] == ["duplicate-name"]
    assert names("var n: int = 1\n") == ["unused-resource"]


# ---- calendars ------------------------------------------------------------------------------------------------------


def test_days_of_a_text() -> None:
    text = b"\xef\xbb\xbf# closed\n2026-12-25 Christmas\n\n2026-01-01 # new year\n2026-12-25\n"
    assert days_in("closed.txt", text) == ("2026-01-01", "2026-12-25")
    assert days_in("closed.csv", b'day,why\r\n"2026-12-25","x"\r\n2026-12-24,y\r\n') == ("2026-12-24", "2026-12-25")


def test_days_of_a_calendar() -> None:
    text = (
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261231\r\nDTEND;VALUE=DATE:20270102\r\nEND:VEVENT\r\n"
        "BEGIN:VEVENT\r\nDTSTART:20260501T000000Z\r\nSUMMARY:long\r\n  line\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert days_in("a.ics", text.encode()) == ("2026-05-01", "2026-12-31", "2027-01-01")


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("a.txt", b"", "no dates"),
        ("a.txt", b"2026-02-30\n", "line 1"),
        ("a.csv", b"day\nnever\n", "line 2"),
        ("a.txt", b"\xff\xfe", "no UTF-8"),
        ("a.ics", b"BEGIN:VEVENT\nDTSTART:2026\nEND:VEVENT\n", "a date that is none"),
        ("a.ics", b"BEGIN:VEVENT\nDTSTART:20260101\nRRULE:FREQ=YEARLY\nEND:VEVENT\n", "repeat"),
        ("a.ics", b"BEGIN:VEVENT\nDTSTART:20260101\nDTEND:20290101\nEND:VEVENT\n", "more than a year"),
    ],
)
def test_what_is_no_calendar(path: str, data: bytes, problem: str) -> None:
    with pytest.raises(CalendarError, match=problem):
        days_in(path, data)


def test_what_is_no_country() -> None:
    with pytest.raises(CalendarError, match="is no country"):
        days_of_country("Germany")
    pytest.importorskip("holidays")
    with pytest.raises(CalendarError, match="knows no days"):
        days_of_country("XX")
    with pytest.raises(CalendarError, match="knows no days"):
        days_of_country("DE-ZZ")
