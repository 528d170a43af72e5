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
)
