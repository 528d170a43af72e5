"""Findings: triggers, times and service levels."""

from __future__ import annotations

from . import Entry

__all__ = ["ENTRIES"]

_ONE = 'task number(x: int) returns int { run: shell("echo ${x}") }\n'


def _flow(*lines: str) -> str:
    """A flow with these lines at its head."""
    head = "".join(f"  {line}\n" for line in lines)
    return f"{_ONE}\nflow main returns int {{\n{head}  return number(1)\n}}\n"


def _order(*lines: str) -> str:
    """A flow over an order."""
    head = "".join(f"  {line}\n" for line in lines)
    return (
        f"{_ONE}\ntype Order = {{ id: string, amount: int }}\n"
        f"\nflow main(order: Order) returns int {{\n{head}  return number(order.amount)\n}}\n"
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        code="FL0601",
        name="cron-invalid",
        message="this is no cron expression: {problem}",
        help="{hint}",
        explanation="A cron expression has five fields: minute, hour, day of month, month, day of week. Each is a "
        "number, a range `1-5`, a list `1,3`, a step `*/10`, or `*`; months and days of the week have names, too. "
        "`L` is the last day of a month, `5L` its last Friday, `1#2` its second Monday.",
        bad=_flow('trigger nightly = cron("61 4 * * *", tz: "UTC")'),
        good=_flow('trigger nightly = cron("1 4 * * *", tz: "UTC")'),
    ),
    Entry(
        code="FL0602",
        name="cron-never-fires",
        message="this trigger never starts a run: {problem}",
        help="{hint}",
        explanation="The expression is well formed, and no day of the calendar fits it.",
        bad=_flow('trigger nightly = cron("0 4 30 2 *", tz: "UTC")'),
        good=_flow('trigger nightly = cron("0 4 28 2 *", tz: "UTC")'),
    ),
    Entry(
        code="FL0603",
        name="unknown-time-zone",
        message="there is no time zone `{name}`",
        help="{hint}",
        explanation="Time zones have the names of the tz database, as `Europe/Berlin`. Offsets and abbreviations are "
        "refused: they know no daylight saving.",
        bad=_flow('trigger nightly = cron("0 4 * * *", tz: "Europe/Berlim")'),
        good=_flow('trigger nightly = cron("0 4 * * *", tz: "Europe/Berlin")'),
    ),
    Entry(
        code="FL0604",
        name="invalid-holidays",
        message="the holidays cannot be read: {problem}",
        help="{hint}",
        explanation="Holidays are dates, a text, CSV or iCalendar file of dates beside the `.flow` file, or the code "
        "of a country. They are read when the flow is compiled, and stand in the plan; those of a country are known "
        "for the years 2020 to 2045.",
        bad=_flow('trigger nightly = cron("0 4 * * *", tz: "UTC", holidays: "closed.txt")'),
        good=_flow('trigger nightly = cron("0 4 * * *", tz: "UTC", holidays: [2026-12-25, 2027-01-01])'),
    ),
    Entry(
        code="FL0605",
        name="trigger-payload",
        message="the trigger cannot start the flow: {what}",
        help="{hint}",
        explanation="Every parameter without a default must get a value from each trigger: by `args`, or, if there is "
        "one such parameter, from the body of the event.",
        bad=_ONE + '\nflow main(day: date, n: int) returns int {\n  trigger nightly = cron("0 4 * * *", tz: "UTC")\n'
        "  return number(n + day.day)\n}\n",
        good=_ONE + '\nflow main(day: date, n: int) returns int {\n  trigger nightly = cron("0 4 * * *", tz: "UTC", '
        "args: { day: run.date, n: 1 })\n  return number(n + day.day)\n}\n",
    ),
    Entry(
        code="FL0606",
        name="trigger-payload-mismatch",
        message="{consumer} takes {expected}, but {producer} is {found}{detail}",
        help="pass the part that fits: `args: {{ parameter: event.body.field }}`",
        explanation="What a trigger brings is checked when the flow is compiled: the record of a file, the result of "
        "another flow, a type that is declared with `type`. Bodies from outside are checked when they come.",
        bad=_ONE + '\nflow main(n: int) returns int {\n  trigger came = dataset("s3://lake/sales")\n'
        "  return number(n)\n}\n",
        good=_ONE + '\nflow main(n: string) returns int {\n  trigger came = dataset("s3://lake/sales")\n'
        "  return number(len(n))\n}\n",
    ),
    Entry(
        code="FL0607",
        name="webhook-without-auth",
        message="the webhook does not say who may call it",
        help='add `auth: hmac(secret("hook_key"))` or `auth: bearer(secret("hook_key"))`; `auth: none` lets anyone in',
        explanation="Whoever reaches the port of a node can call its webhooks. A signature (`hmac`) also keeps a call "
        "from being changed or repeated.",
        bad=_order('trigger hook = webhook("/orders")'),
        good=_order('trigger hook = webhook("/orders", auth: hmac(secret("hook_key")))'),
    ),
    Entry(
        code="FL0608",
        name="trigger-loop",
        message="these flows start each other for ever: {way}",
        help="take one of the triggers away, or start from something that no flow of the circle brings about",
        explanation="Each run of the circle starts the next one, so once begun it never ends: `after_flow` starts a "
        "flow after another, and `dataset` after a step that updates it.",
        bad=_ONE + "\nflow first returns int {\n  trigger again = after_flow(second)\n  return number(1)\n}\n"
        "\nflow second returns int {\n  trigger next = after_flow(first)\n  return number(1)\n}\n",
        good=_ONE + "\nflow first returns int {\n  trigger again = interval(10m)\n  return number(1)\n}\n"
        "\nflow second returns int {\n  trigger next = after_flow(first)\n  return number(1)\n}\n",
    ),
    Entry(
        code="FL0609",
        name="cron-no-timezone",
        severity="warning",
        message="times of day need a time zone: without one, this is UTC",
        help='add `tz: "Europe/Berlin"`, or `tz: "UTC"` if that is meant',
        explanation="`0 4 * * *` is four o'clock somewhere. In UTC it moves by an hour against the clock on the wall "
        "when daylight saving begins.",
        bad=_flow('trigger nightly = cron("0 4 * * *")'),
        good=_flow('trigger nightly = cron("0 4 * * *", tz: "Europe/Berlin")'),
    ),
    Entry(
        code="FL0610",
        name="cron-dst-ambiguous",
        severity="warning",
        message="in {zone}, {what}",
        help="{hint}",
        explanation="When clocks are put forward, some times of day are not there; when they are put back, some come "
        "twice. Where nothing is said, a time that is not there ticks at the end of the gap, and one that comes twice "
        "ticks the first time: `gap` and `overlap` say so, or otherwise.",
        bad=_flow('trigger nightly = cron("30 2 * * *", tz: "Europe/Berlin")'),
        good=_flow('trigger nightly = cron("30 2 * * *", tz: "Europe/Berlin", gap: "run", overlap: "once")'),
    ),
    Entry(
        code="FL0611",
        name="cron-too-frequent",
        severity="warning",
        message="this starts a run {what}",
        help="{hint}",
        explanation="A star in the field of the minutes is every minute: `* 4 * * *` starts sixty runs, where one was "
        "meant, nearly always.",
        bad=_flow('trigger nightly = cron("* 4 * * *", tz: "UTC")'),
        good=_flow('trigger nightly = cron("0 4 * * *", tz: "UTC")'),
    ),
    Entry(
        code="FL0612",
        name="interval-shorter-than-runtime",
        severity="warning",
        message="a run starts every {every}, and each takes at least {least}",
        help="make the interval longer, or wait less",
        explanation="The waits of a run alone (`sleep`, `delay`) take longer than the time to the next one. With a "
        "bound on the runs at a time more and more of them wait; without one, more and more run.",
        bad="use std.time { sleep }\n\nflow main {\n  trigger often = interval(10m)\n  sleep(15m)\n}\n",
        good="use std.time { sleep }\n\nflow main {\n  trigger often = interval(10m)\n  sleep(5m)\n}\n",
    ),
    Entry(
        code="FL0613",
        name="sla-below-critical-path",
        severity="info",
        message="if each step takes as long as its `timeout` lets it, the run takes {longest}; its `sla` is {limit}",
        help="lower the timeouts on the longest way, or raise the `sla`: it is missed before anything times out",
        explanation="The longest way through the steps is added up from their `timeout`s, each for one attempt. It "
        "may never take so long; if it does, the service level is missed although every step kept its limits.",
        bad=_ONE + "\nflow main returns int {\n  sla: 15m\n  a = number(1) with { timeout: 10m }\n"
        "  return number(a) with { timeout: 10m }\n}\n",
        good=_ONE + "\nflow main returns int {\n  sla: 25m\n  a = number(1) with { timeout: 10m }\n"
        "  return number(a) with { timeout: 10m }\n}\n",
    ),
    Entry(
        code="FL0614",
        name="retries-exceed-timeout",
        severity="warning",
        message="{step} may take {sum}, longer than the `{name}` of {limit}",
        help="lower `timeout` or `retry` of the step, or raise the `{name}`: the last attempts are never made",
        explanation="A step is ended at its `deadline`, and a run at its `timeout`, whatever attempts are left. "
        "Attempts that cannot be made give a false feeling of safety.",
        bad=_ONE + "\nflow main returns int {\n  timeout: 30m\n  return number(1) with { timeout: 20m, retry: 2 }\n}\n",
        good=_ONE + "\nflow main returns int {\n  timeout: 2h\n  return number(1) with { timeout: 20m, retry: 2 }\n}\n",
    ),
    Entry(
        code="FL0615",
        name="retries-exceed-sla",
        severity="warning",
        message="{step} may take {sum}, longer than the `{name}` of {limit}",
        help="lower `timeout` or `retry` of the step, or raise the `{name}`",
        explanation="If attempts fail by their `timeout`, the service level is missed while the step still tries.",
        bad=_ONE + "\nflow main returns int {\n  sla: 45m\n"
        "  return number(1) with { timeout: 20m, retry: { max: 2, backoff: fixed(45s) } }\n}\n",
        good=_ONE + "\nflow main returns int {\n  sla: 1h15m\n"
        "  return number(1) with { timeout: 20m, retry: { max: 2, backoff: fixed(45s) } }\n}\n",
    ),
    Entry(
        code="FL0616",
        name="child-timeout-exceeds-parent",
        severity="warning",
        message="`{child}` (called on line {line}) may take {longest}, and this flow is ended after {limit}",
        help="raise this `timeout`, or lower that of `{child}`",
        explanation="A child run ends with the run that called it. A timeout of its own that is longer never comes.",
        bad=_ONE + "\nflow child returns int {\n  timeout: 2h\n  return number(1)\n}\n"
        "\nflow main returns int {\n  timeout: 1h\n  return child()\n}\n",
        good=_ONE + "\nflow child returns int {\n  timeout: 2h\n  return number(1)\n}\n"
        "\nflow main returns int {\n  timeout: 3h\n  return child()\n}\n",
    ),
    Entry(
        code="FL0617",
        name="unbounded-catchup",
        severity="warning",
        message="when it is deployed first, `catchup` starts a run for every time of `{trigger}` since its start, all "
        "at once",
        help="add `max_active_runs: 4`",
        explanation="A trigger that began a year ago has 8,760 hours behind it. With a bound, they are worked off one "
        "after the other, the oldest first.",
        bad=_flow("catchup: true", 'trigger hourly = cron("0 * * * *", tz: "UTC", start: 2026-01-01)'),
        good=_flow(
            "catchup: true", "max_active_runs: 4", 'trigger hourly = cron("0 * * * *", tz: "UTC", start: 2026-01-01)'
        ),
    ),
    Entry(
        code="FL0618",
        name="catchup-without-start",
        severity="warning",
        message="`catchup` has no effect: no trigger of the flow says from when on",
        help="{hint}",
        explanation="`catchup` makes up for the times between the `start` of a trigger and its first deployment.",
        bad=_flow("catchup: true", "max_active_runs: 4", 'trigger hourly = cron("0 * * * *", tz: "UTC")'),
        good=_flow(
            "catchup: true", "max_active_runs: 4", 'trigger hourly = cron("0 * * * *", tz: "UTC", start: 2026-01-01)'
        ),
    ),
    Entry(
        code="FL0619",
        name="sla-miss-never-comes",
        severity="warning",
        message="`on sla_miss` never runs: {where} has no service level",
        help="add `sla: 2h`, or remove the handler",
        explanation="A miss is told of a run or a step that has an `sla`: of a flow, its own or that of one of its "
        "steps.",
        bad=_flow("on sla_miss(m) { number(1) }"),
        good=_flow("sla: 2h", "on sla_miss(m) { number(1) }"),
    ),
    Entry(
        code="FL0620",
        name="event-without-dedupe",
        severity="info",
        message="an event that is sent twice starts two runs",
        help="add `dedupe: 24h`, and `key: …` if the sender gives events no key",
        explanation="Who publishes an event sends it again when it is not sure that it arrived. What the server "
        "delivers twice is known by its id; what is published twice is known by its key alone, within the time that "
        "`dedupe` says.",
        bad=_order('trigger placed = event("orders.placed")'),
        good=_order('trigger placed = event("orders.placed", key: order.id, dedupe: 24h)'),
    ),
)
