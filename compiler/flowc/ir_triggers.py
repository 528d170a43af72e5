"""The triggers of the IR: what starts runs of a deployed flow.

They mean what `plan` says of its sources. Expressions (`key`, `filter`, `args`) are over ids: that of the trigger's
`event`, and 0, the facts of the run, which only `args` can read.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .ir_model import Expr, Model

__all__ = [
    "AllOf", "AnyOf", "At", "Cron", "Custom", "Dataset", "Event", "File", "FlowEnd", "Interval", "Trigger",
    "TriggerSource", "Webhook",
]  # fmt: skip


class Cron(Model):
    """Times by the clock on the wall."""

    kind: Literal["cron"] = "cron"
    expression: str
    tz: str = "UTC"
    #: of a time of day that is not there
    gap: Literal["run", "skip"] = "run"
    #: of one that comes twice
    overlap: Literal["once", "twice"] = "once"
    #: days without, ISO dates in order
    holidays: tuple[str, ...] = ()


class Interval(Model):
    kind: Literal["interval"] = "interval"
    every_ms: int = Field(ge=1)
    #: one of its times, milliseconds since 1970
    origin_ms: int = 0
    tz: str = "UTC"
    holidays: tuple[str, ...] = ()


class At(Model):
    """Certain times, milliseconds since 1970, in rising order."""

    kind: Literal["at"] = "at"
    at_ms: tuple[int, ...]
    tz: str = "UTC"


class Custom(Model):
    """A schedule in Python."""

    kind: Literal["custom"] = "custom"
    #: "module:name"
    target: str
    tz: str = "UTC"


class _Arriving(Model):
    """What brings a body from outside."""

    #: canonical text of the type of `event.body`
    body: str
    #: what it is about
    key: Expr | None = None
    #: only where this holds
    filter: Expr | None = None
    #: another one of the same key within this time starts nothing
    dedupe_ms: int = 0


class Event(_Arriving):
    """A message of a subject."""

    kind: Literal["event"] = "event"
    subject: str


class Webhook(_Arriving):
    """An HTTP POST."""

    kind: Literal["webhook"] = "webhook"
    path: str
    auth: Literal["hmac", "bearer", "none"]
    #: key of the secret
    secret: str = ""
    scheme: Literal["standard", "sha256=hex", "hex"] = "standard"
    header: str = ""
    tolerance_ms: int = 300_000
    max_bytes: int = 1_048_576


class File(Model):
    """A file that comes or changes."""

    kind: Literal["file"] = "file"
    pattern: str
    body: str
    every_ms: int = 10_000


class FlowEnd(Model):
    """The end of a run of another flow."""

    kind: Literal["flow"] = "flow"
    flow: str
    body: str
    on: Literal["success", "failure", "done"] = "success"


class Dataset(Model):
    """An update of a dataset."""

    kind: Literal["dataset"] = "dataset"
    name: str
    body: str


class AnyOf(Model):
    """Each of them starts a run."""

    kind: Literal["any"] = "any"
    sources: tuple[TriggerSource, ...]


class AllOf(Model):
    """All of them together start one."""

    kind: Literal["all"] = "all"
    sources: tuple[TriggerSource, ...]


TriggerSource = Annotated[
    Cron | Interval | At | Custom | Event | Webhook | File | FlowEnd | Dataset | AnyOf | AllOf,
    Field(discriminator="kind"),
]


class Trigger(Model):
    """One trigger of a flow."""

    #: unique in the flow
    name: str
    line: int
    source: TriggerSource
    #: the id of `event` in its expressions
    event_id: int
    #: values of parameters
    args: dict[str, Expr] = Field(default={})
    #: of the times that went by while nobody was there
    missed: Literal["latest", "all", "skip"] = "latest"
    #: a run is put off by up to so much
    jitter_ms: int = 0
    #: it starts nothing before, and nothing after, milliseconds since 1970
    start_ms: int | None = None
    end_ms: int | None = None
