"""Runs and the rest of the state as bytes, and back: `restore(pack(state))` is the same state.

A run is packed by itself, so that a snapshot writes only those that changed. What its scopes hold is written as it
is, in the order of `Scope`'s fields; where a scope points to a table of its plan stands (flow, block). A packed run
begins with a *head*, which tells what can be known of it without unpacking the rest: 100,000 runs that wait are kept
packed, and a new coordinator reads their heads only.
"""

from __future__ import annotations

import operator
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from flowrun.messages import Submit

from .graph import Tables
from .listeners import heard_of
from .state import EARLY, EMPTY, GRANTED, NULL, RUNNING, SUCCESS, Run, Scope, Single, Timer

__all__ = ["Head", "has_work", "head_of", "is_single", "pack_run", "pack_single", "unpack_run", "unpack_single"]


class Head(msgspec.Struct, array_like=True, frozen=True):
    """How a packed run begins."""

    id: str
    plan: str
    state: int
    #: some of its work may be dispatched
    has_work: bool
    timers: dict[str, Timer]
    #: what it waits for outside of itself, and how often (see `listeners`)
    heard: dict[str, int]
    #: other plans that scopes of it are of: what replaced its tasks
    plans: tuple[str, ...]

    @property
    def ended(self) -> bool:
        return self.state != RUNNING


#: fields of a run that are written as they are, after those of the head
_RUN_FIELDS = (
    "mark", "seq", "submitted_ms", "trigger", "client", "priority", "keyed", "next_scope", "flow", "result", "error",
    "failed_step", "ended_ms", "args", "digest", "expires_ms", "needs", "held", "paused", "waiting", "again", "image",
    "audit", "undoable", "depth", "awaits", "signals", "decided",
    "variables",
    "scheduled",
    "begun_ms", "levels", "ending",
)  # fmt: skip
_SCOPE_FIELDS = tuple(name for name in Scope.__struct_fields__ if name not in ("run", "graph"))


def _tuple(*kinds: Any) -> Any:
    """The type of a tuple of these."""
    return tuple[kinds]  # type: ignore[valid-type]


def _types(kind: type, fields: tuple[str, ...]) -> list[Any]:
    hints = typing.get_type_hints(kind)
    return [hints[name] for name in fields]


_encoder = msgspec.msgpack.Encoder()
_head_decoder = msgspec.msgpack.Decoder(Head)
#: (plan, "" for the run's own; flow, block, fields)
_scope_type = _tuple(str, str, int, *_types(Scope, _SCOPE_FIELDS))
#: (head, fields, scopes)
_run_type = _tuple(*_types(Head, Head.__struct_fields__), _tuple(*_types(Run, _RUN_FIELDS)), _tuple(_scope_type, ...))
_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_run_type)
#: (head, fields)
_single_type = _tuple(
    *_types(Head, Head.__struct_fields__), _tuple(Submit, str, _tuple(int, int, bytes, bytes | None, bytes, int))
)
_single_decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_single_type)
#: how these bytes begin: an array of so many
_SINGLE = 0x90 + len(Head.__struct_fields__) + 1
_run_fields = operator.attrgetter(*_RUN_FIELDS)
_scope_fields = operator.attrgetter(*_SCOPE_FIELDS)


def pack_run(run: Run) -> bytes:
    """The bytes of a run: O(its size)."""
    # an ended run has no scopes but its body, which its record is made of
    scopes = list(run.scopes.values()) or ([run.body] if run.body is not None else [])
    heard = heard_of(run.awaits) if run.awaits else EMPTY
    packed = [(_foreign(run, scope), scope.graph.flow, scope.graph.block, *_scope_fields(scope)) for scope in scopes]
    head = (run.id, run.plan, run.state, has_work(run), run.timers, heard, run.plans)
    return _encoder.encode((*head, _run_fields(run), packed))


def _foreign(run: Run, scope: Scope) -> str:
    """The plan of a scope; "" for the run's own."""
    plan = scope.graph.tables.digest
    return "" if plan == run.plan else plan


def has_work(run: Run) -> bool:
    """Some of its work may be dispatched: it waits for workers, and not for the world or a time."""
    return any(GRANTED in scope.states or scope.fans for scope in run.scopes.values())


def pack_single(single: Single) -> bytes:
    """The bytes of a run of which only its submission is known, or its result, too."""
    event, ended = single.event, single.value is not None
    rest = (single.seq, single.submitted_ms, single.mark, single.value, single.seconds, single.ended_ms)
    head = (event.run, event.plan, SUCCESS if ended else RUNNING, not ended, EMPTY, EMPTY, ())
    return _encoder.encode((*head, (event, single.tables.plan.flow, rest)))


def head_of(data: bytes) -> Head:
    return _head_decoder.decode(data)


def is_single(data: bytes) -> bool:
    """The bytes are of `pack_single`."""
    return data[0] == _SINGLE


def unpack_single(data: bytes, tables: Tables | None) -> Single | Run:
    """What it was. `tables` as for `unpack_run`; if they cannot be had, a run of which only the outcome is known."""
    event, flow, rest = _single_decoder.decode(data)[-1]
    if tables is not None:
        return Single(event, tables, *rest)
    seq, submitted_ms, mark, value, _, ended_ms = rest
    run = Run(event.run, mark, None, event.plan, seq, submitted_ms, event.trigger, event.client, event.priority)
    run.flow, run.keyed, run.state, run.result, run.ended_ms = flow, bool(event.key), SUCCESS, value or NULL, ended_ms
    return run


def unpack_run(data: bytes, tables: Tables | None, others: Mapping[str, Tables]) -> Run:
    """The run. `tables` are those of its plan; None: the plan cannot be had, and of a run that ended only its own
    outcome is known, not that of its steps. `others`: at least those of its other plans."""
    name, plan, state, _, timers, _, foreign, fields, scopes = _decoder.decode(data)
    run = Run(name, b"", tables, plan, 0, 0)
    run.state, run.timers, run.plans = state, timers, foreign
    for field, value in zip(_RUN_FIELDS, fields, strict=True):
        setattr(run, field, value)
    for other, flow, block, *values in scopes if tables is not None else ():
        scope = Scope(run, others[other].graph(flow, block) if other else run.graph(flow, block), *values)
        if scope.parent < 0 and scope.kind != EARLY:
            run.body = scope
        if not run.ended:
            run.scopes[scope.id] = scope
    return run
