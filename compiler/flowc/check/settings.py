"""The settings: one typed schema (`SETTINGS`), and the rows that are merged for a step.

A setting has a field of `ir.Settings`, a way to read its value, and the places where it may stand. A row is what one
place sets; a later row wins, setting by setting: flow.toml, the flow's `defaults` and head, the task, `with` (of groups
around first). What the language has and this version does not run is in the schema too, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from flowc import ir, syntax
from flowc.suggest import did_you_mean

from .context import Context, With
from .datasets import dataset_names
from .keyed import batch, cache, debounce, idempotency_key, result_of
from .service_levels import service_level
from .setting_values import Reader
from .targets import first_call, symbol_of

__all__ = ["SETTINGS", "Place", "Setting", "check_slots", "is_limited", "names_at", "read_row", "read_setting",
           "refuse_passed", "report_setting"]  # fmt: skip

Place = Literal["task", "step", "child", "flow", "defaults", "each", "repeat", "group"]
_EVERYWHERE: tuple[Place, ...] = ("task", "step", "flow", "defaults", "each", "group")
_WORK: tuple[Place, ...] = ("task", "step", "child", "defaults", "each", "group")
_CALLS: tuple[Place, ...] = ("task", "step", "defaults", "each", "group")

#: how a place is called in messages
_PLACES: dict[Place, str] = {
    "task": "a task", "step": "a step's `with`", "child": "a call of a flow", "flow": "a flow",
    "defaults": "`defaults`", "each": "an `each`",
    "repeat": "a `repeat`", "group": "a group's `with`",
}  # fmt: skip


class Setting(NamedTuple):
    """One setting."""

    name: str
    #: field of ir.Settings, or of the construct
    field: str
    read: Callable[[Reader, syntax.Expression, str], Any]
    places: tuple[Place, ...]
    #: places where it is known and not run yet (an error)
    refused: tuple[Place, ...] = ()


def _duration(reader: Reader, node: syntax.Expression, name: str) -> int | None:
    return reader.duration(node, name)


def _integer(low: int, high: int | None = None) -> Callable[[Reader, syntax.Expression, str], Any]:
    return lambda reader, node, name: reader.integer(node, name, low, high)


def _choice(*choices: str) -> Callable[[Reader, syntax.Expression, str], Any]:
    return lambda reader, node, name: reader.choice(node, name, choices)


def _join(reader: Reader, node: syntax.Expression, name: str) -> str | int | None:
    if isinstance(node, syntax.Literal) and node.kind == "string":
        return reader.choice(node, name, ("first",))
    return reader.integer(node, name, 1)


def _executor(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    return reader.choice(node, name, ("process", "thread", "async"))


def _queue(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    return reader.resource(node, name, "queue", ("default",))


def _pool(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    return reader.resource(node, name, "pool")


def _limit(reader: Reader, node: syntax.Expression, name: str) -> str | None:
    return reader.resource(node, name, "limit")


def _concurrency(reader: Reader, node: syntax.Expression, name: str) -> int | ir.Concurrency | None:
    """Of an `each`, how many items; elsewhere, how many at a time in the whole environment."""
    return reader.integer(node, name, 1) if reader.at == "each" else reader.concurrency(node, name)


def _delivery(reader: Reader, node: syntax.Expression, name: str) -> bool | None:
    choice = reader.choice(node, name, ("at_least_once", "at_most_once"))
    return None if choice is None else choice == "at_most_once"


def _unread(reader: Reader, node: syntax.Expression, name: str) -> None:
    return None


def _supported(*settings: Setting) -> dict[str, Setting]:
    return {setting.name: setting for setting in settings}


#: every setting of the language
SETTINGS: dict[str, Setting] = {
    **_supported(
        Setting("run", "run", _unread, ("task",)),
        Setting("undo", "undo", _unread, ("task",)),
        Setting("uses", "uses", Reader.connections, ("task",)),
        Setting("queue", "queue", _queue, _EVERYWHERE, refused=("child",)),
        Setting("pool", "pool", _pool, (*_EVERYWHERE, "child")),
        Setting("slots", "slots", _integer(1), (*_EVERYWHERE, "child")),
        Setting("priority", "priority", _integer(0, 9), (*_EVERYWHERE, "child")),
        Setting("retry", "retry", Reader.retry, _WORK),
        Setting("timeout", "timeout_ms", _duration, (*_EVERYWHERE, "child")),
        Setting("deadline", "deadline_ms", _duration, _WORK, refused=("flow",)),
        Setting("expires", "expires_ms", _duration, _CALLS, refused=("flow", "child")),
        Setting("delay", "delay_ms", _duration, _CALLS, refused=("flow", "child")),
        Setting("at", "at_ms", Reader.moment, _CALLS, refused=("flow", "child")),
        Setting("soft_timeout", "soft_timeout_ms", _duration, _CALLS, refused=("flow", "child")),
        Setting("memory", "memory", Reader.size, _CALLS, refused=("flow", "child")),
        Setting("max_tasks_per_process", "max_tasks_per_process", _integer(1), _CALLS, refused=("flow", "child")),
        Setting("executor", "executor", _executor, _EVERYWHERE, refused=("child",)),
        Setting("env", "env", Reader.environment, _EVERYWHERE, refused=("child",)),
        Setting("tags", "tags", Reader.texts, (*_EVERYWHERE, "child")),
        Setting("idempotent", "idempotent", Reader.boolean, _WORK),
        Setting("defaults", "defaults", _unread, ("flow",)),
        Setting("max", "max", _integer(1), ("each", "repeat")),
        Setting("limit", "limit", _limit, (*_EVERYWHERE, "child")),
        Setting("concurrency", "concurrency", _concurrency, ("task", "step", "child", "flow", "each")),
        Setting("max_active_runs", "max_active_runs", _integer(1), ("flow",)),
        Setting("on_failure", "on_failure", _choice("compensate"), ("flow",)),
        Setting("max_depth", "max_depth", _integer(1, 1_000), ("flow",)),
        Setting("detached", "detached", Reader.boolean, ("child",)),
        Setting("on_error", "on_error", _choice("fail", "collect", "skip"), ("each",)),
        Setting("every", "every_ms", _duration, ("repeat",)),
        Setting("join", "join", _join, ("group",)),
        Setting("cancel_rest", "cancel_rest", Reader.boolean, ("group",)),
        Setting("sla", "sla", service_level, (*_EVERYWHERE, "child")),
        Setting("updates", "updates", dataset_names, ("task", "step")),
        Setting("reads", "reads", dataset_names, ("task", "step")),
        Setting("catchup", "catchup", Reader.boolean, ("flow",)),
        Setting("depends_on_past", "depends_on_past", Reader.boolean, ("flow",)),
        Setting("delivery", "at_most_once", _delivery, _CALLS, refused=("flow", "child")),
        Setting("result", "ignore_result", result_of, (*_CALLS, "flow"), refused=("child",)),
        Setting("idempotency_key", "idempotency_key", idempotency_key, ("task", "step", "flow")),
        Setting("cache", "cache", cache, _CALLS, refused=("flow", "child")),
        Setting("debounce", "debounce", debounce, ("flow",)),
        Setting("batch", "batch", batch, ("task",)),
    ),
}  # fmt: skip


def names_at(place: Place) -> list[str]:
    """The names that may stand at a place."""
    return [name for name, setting in SETTINGS.items() if place in (*setting.places, *setting.refused)]


def read_row(reader: Reader, entries: Iterable[syntax.Entry | syntax.Spread], place: Place) -> With:
    """What a record of settings sets, by field."""
    row = With()
    seen: dict[str, syntax.Node] = {}
    for entry in entries:
        if isinstance(entry, syntax.Spread):
            reader.place.report("not-supported-yet", entry, construct="a spread in settings")
        else:
            read_setting(reader, entry.key, entry.value, place, row, seen)
            if entry.key.text in seen:
                row.places.setdefault(SETTINGS[entry.key.text].field, reader.place.span(entry.key))
    return row


def read_setting(
    reader: Reader,
    key: syntax.Ident,
    value: syntax.Expression,
    place: Place,
    row: dict[str, Any],
    seen: dict[str, syntax.Node],
) -> None:
    """Reads one setting into the row; reports what is unknown, misplaced, doubled or wrong."""
    setting = SETTINGS.get(key.text)
    if setting is None or place not in (*setting.places, *setting.refused):
        report_setting(reader.place, key, value, place)
        return
    if key.text in seen:
        labels = (reader.place.label(seen[key.text], "first set here"),)
        reader.place.report("duplicate-name", key, labels=labels, name=key.text, what="set here")
        return
    seen[key.text] = key
    if place in setting.refused:
        reader.place.report("not-supported-yet", key, construct=f"the setting `{key.text}` on {_PLACES[place]}")
    else:
        reader.at = place
        found = setting.read(reader, value, key.text)
        if found is not None:
            row[setting.field] = found


#: what Celery, Airflow and others call them -> what to write
_ELSEWHERE = {
    "retries": "write `retry: 3`",
    "max_retries": "write `retry: 3`",
    "autoretry_for": 'write `retry: { max: 3, only: ["ErrorType"] }`',
    "retry_backoff": "write `retry: { max: 3, backoff: exponential(1s) }`",
    "retry_delay": "write `retry: { max: 3, backoff: fixed(30s) }`",
    "default_retry_delay": "write `retry: { max: 3, backoff: fixed(30s) }`",
    "time_limit": "write `timeout: 30s`",
    "execution_timeout": "write `timeout: 30s`",
    "dagrun_timeout": "write `timeout: 1h`",
    "soft_time_limit": "write `soft_timeout: 30s`",
    "max_tasks_per_child": "write `max_tasks_per_process: 100`",
    "worker_max_tasks_per_child": "write `max_tasks_per_process: 100`",
    "max_memory_per_child": 'write `memory: "512MB"`',
    "rate_limit": "declare `limit name { rate: 100, per: 1m }` and write `limit: name`",
    "max_active_tasks": "write `pool: name` to limit how much runs at once",
    "max_active_tis_per_dag": "write `concurrency: 1`",
    "concurrency_limit": "write `concurrency: { limit: 1, key: … }`",
    "concurrency_key": "write `concurrency: { limit: 1, key: … }`",
    "countdown": "write `delay: 10s`",
    "eta": "write `at: 2027-01-31T10:00:00Z`",
    "priority_weight": "write `priority: 5`, from 0 to 9",
    "pool_slots": "write `slots: 1`",
    "trigger_rule": "write `after done([a, b])` behind the call",
    "depends_on": "write `after x` behind the call",
    "max_parallel": "write `concurrency: 20`",
    "max_concurrency": "write `concurrency: 20`",
    "schedule": 'write `trigger nightly = cron("0 4 * * *", tz: "UTC")`',
    "schedule_interval": 'write `trigger nightly = cron("0 4 * * *", tz: "UTC")`',
    "cron": 'write `trigger nightly = cron("0 4 * * *", tz: "UTC")`',
    "default_args": "write `defaults: { retry: 3 }`",
    "command": 'write `run: shell("…")`',
    "bash_command": 'write `run: shell("…")`',
    "python_callable": 'write `run: python("module:function")`',
    "outlets": 'write `updates: dataset("…")`',
    "inlets": 'write `reads: dataset("…")`',
    "start_date": 'write `trigger nightly = cron("0 4 * * *", tz: "UTC", start: 2026-01-01)`',
    "end_date": 'write `trigger nightly = cron("0 4 * * *", tz: "UTC", end: 2026-12-31)`',
    "wait_for_downstream": "write `depends_on_past: true`",
}


def _that_run(place: Place) -> list[str]:
    return [name for name in names_at(place) if place in SETTINGS[name].places]


def report_setting(cx: Context, key: syntax.Ident, value: syntax.Expression, place: Place) -> None:
    """Reports a name that is no setting here."""
    known = SETTINGS.get(key.text)
    if known is not None:
        places = [_PLACES[other] for other in known.places if other != "child"]
        hint = "it belongs to " + " or ".join(places) if places else "remove it"
        cx.report("misplaced-setting", key, name=key.text, where=_PLACES[place], hint=hint)
        return
    is_step = place == "flow" and (first_call(cx.module, value) is not None or symbol_of(cx.module, value) is not None)
    near = _ELSEWHERE.get(key.text) or did_you_mean(key.text, names_at(place))
    if is_step or (place == "flow" and not near):
        hint = f"did you mean `{key.text} = …`? `:` sets a setting, `=` binds a result"
    else:
        hint = near or "the settings are " + ", ".join(f"`{name}`" for name in _that_run(place))
    cx.report("unknown-setting", key, name=key.text, where=_PLACES[place], hint=hint)


def refuse_passed(cx: Context, node: syntax.Node, flow: str, settings: ir.Settings) -> None:
    """Reports settings of a `with` around that a call of `flow` cannot take."""
    called = (cx.label(node, f"`{flow}` is a flow"),)
    for row in cx.rows:
        for name, place in row.places.items():
            if name in row and name in SETTINGS and "child" in SETTINGS[name].refused:
                hint = f"give it to the calls of tasks only, and set it in `{flow}` for its own"
                construct = f"the setting `{name}` on a call of a flow"
                cx.shared.findings.add("not-supported-yet", place, help=hint, labels=called, construct=construct)
            elif name == "priority" and name in row and not is_limited(settings):
                construct = "`priority` on a call of a flow without a `pool`"
                cx.shared.findings.add("not-active-yet", place, labels=called, construct=construct)


def is_limited(settings: ir.Settings) -> bool:
    """Something says how many of it may run: its priority says which goes first."""
    return settings.pool is not None or settings.limit is not None or settings.concurrency is not None


def check_slots(cx: Context, node: syntax.Node, settings: ir.Settings) -> None:
    """Reports more slots than the pool has."""
    if settings.pool is None:
        return
    symbol, size = cx.shared.resources.get(("pool", settings.pool)), cx.shared.pool_sizes.get(settings.pool)
    if size is None or settings.slots <= size or symbol is None or not isinstance(symbol.node, syntax.Resource):
        return
    declared = Context(cx.shared, symbol.module).label(symbol.node.name, f"declared here with {size}")
    cx.report("slots-exceed-pool", node, labels=(declared,), slots=settings.slots, pool=settings.pool, size=size)
