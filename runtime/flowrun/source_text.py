"""What a trigger waits for, in words."""

from __future__ import annotations

import datetime as dt

from flowc.plan import (
    AllSource,
    AnySource,
    AtSource,
    CronSource,
    CustomSource,
    DatasetSource,
    EventSource,
    FileSource,
    FlowSource,
    IntervalSource,
    TriggerSource,
    WebhookSource,
)

from .text import show

__all__ = ["source_text"]


def source_text(source: TriggerSource) -> str:
    """A source as a flow has it, in short."""
    match source:
        case CronSource():
            zone = "" if source.tz == "UTC" else f', tz: "{source.tz}"'
            return f'cron("{source.expression}"{zone})'
        case IntervalSource():
            return f"interval({show(dt.timedelta(milliseconds=source.every_ms))})"
        case AtSource():
            first = (
                dt.datetime.fromtimestamp(source.at_ms[0] / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                if source.at_ms
                else ""
            )
            return f'at("{first}"{", …" if len(source.at_ms) > 1 else ""})'
        case CustomSource():
            return f'custom("{source.target}")'
        case EventSource():
            return f'event("{source.subject}")'
        case WebhookSource():
            return f'webhook("{source.path}")'
        case FileSource():
            return f'file("{source.pattern}")'
        case FlowSource():
            return f"after_flow({source.flow})"
        case DatasetSource():
            return f'dataset("{source.name}")'
        case AnySource() | AllSource():
            kind = "any_of" if isinstance(source, AnySource) else "all_of"
            return f"{kind}({', '.join(map(source_text, source.sources))})"
