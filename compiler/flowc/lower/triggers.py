"""Triggers, service levels and variables of a plan: expressions over the event, ["in", 0], and the run, ["in", 1]."""

from __future__ import annotations

from typing import Any

from flowc import ir, plan

from .expressions import map_parts
from .fold import fold
from .tables import Tables

__all__ = ["lowered_trigger", "lowered_variable"]

#: the id of `run`
_RUN_ID = 0


def lowered_trigger(tables: Tables, trigger: ir.Trigger) -> plan.TriggerDef:
    """A trigger of the plan."""
    event = trigger.event_id
    return plan.TriggerDef(
        name=trigger.name,
        line=trigger.line,
        source=_source(tables, trigger.source, event),
        args=tuple((name, _over_event(fold(value), event)) for name, value in trigger.args.items()),
        missed=trigger.missed,
        jitter_ms=trigger.jitter_ms,
        start_ms=trigger.start_ms,
        end_ms=trigger.end_ms,
    )


def lowered_variable(tables: Tables, variable: ir.Variable) -> plan.VarDef:
    """A variable of the plan."""
    default = None if variable.default is None else fold(variable.default)
    return plan.VarDef(name=variable.name, type=tables.type(variable.type), default=default)


def _source(tables: Tables, source: ir.TriggerSource, event: int) -> plan.TriggerSource:
    match source:
        case ir.Cron():
            return plan.CronSource(**_fields(source))
        case ir.Interval():
            return plan.IntervalSource(**_fields(source))
        case ir.At():
            return plan.AtSource(**_fields(source))
        case ir.Custom():
            return plan.CustomSource(**_fields(source))
        case ir.Event():
            return plan.EventSource(**_arriving(tables, source, event))
        case ir.Webhook():
            return plan.WebhookSource(**_arriving(tables, source, event))
        case ir.File():
            return plan.FileSource(**{**_fields(source), "body": tables.type(source.body)})
        case ir.FlowEnd():
            return plan.FlowSource(**{**_fields(source), "body": tables.type(source.body)})
        case ir.Dataset():
            return plan.DatasetSource(**{**_fields(source), "body": tables.type(source.body)})
        case ir.AnyOf():
            return plan.AnySource(sources=tuple(_source(tables, part, event) for part in source.sources))
        case ir.AllOf():
            return plan.AllSource(sources=tuple(_source(tables, part, event) for part in source.sources))


def _fields(source: ir.TriggerSource) -> dict[str, Any]:
    return source.model_dump(exclude={"kind"})


def _arriving(tables: Tables, source: ir.Event | ir.Webhook, event: int) -> dict[str, Any]:
    """The fields of a source with a body from outside."""
    fields = {**_fields(source), "body": tables.type(source.body)}
    for name in ("key", "filter"):
        expr = getattr(source, name)
        fields[name] = None if expr is None else _over_event(fold(expr), event)
    return fields


def _over_event(expr: ir.Expr, event: int) -> plan.Expr:
    if expr[0] in ("ref", "opt"):
        return ["in", {event: 0, _RUN_ID: 1}[expr[1]]]
    return map_parts(expr, lambda part: _over_event(part, event))
