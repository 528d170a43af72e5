"""The log of a node's processes: one line per event, for people or, on demand, as JSON. Task output is not part of it.

Modules log through `logging` under "flow.…"; here is decided how that looks. Times are UTC with milliseconds.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
import structlog.tracebacks

__all__ = ["LogFormat", "configure_logs"]

LogFormat = Literal["text", "json"]


def configure_logs(format: LogFormat, level: str, **always: object) -> None:
    """Sends the log of this process to standard error. `level`: "debug", "info", "warning" or "error"; `always`: what
    stands in every line, such as node="a-1", role="worker"."""

    def about(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**always, **event}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        about,
    ]
    shown: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if format == "json":  # without the values of variables: a secret may be among them
        traces = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shown += [structlog.processors.ExceptionRenderer(traces), structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        shown += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=shown))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("flow").setLevel(level.upper())
