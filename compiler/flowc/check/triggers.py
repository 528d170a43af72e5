"""Triggers: `trigger NAME = cron(…)`, and what it gives to the parameters of its flow.

A trigger is read in this order:

    its arguments   are told apart: those of the source, and those of the trigger as a whole (`args`, `missed`, …)
    its body        what `event.body` is: as the source has it (a file, the end of a flow), as `type` says, or as the
                    parameter that takes it (`payloads`)
    its values      `args` are elaborated over `event` and `run`; without them, the one parameter that must be given
                    takes the body
    its source      `key` and `filter` are over `event`, and over the parameters as the values say (`sources`)

The parts of `any_of` and `all_of` are sources; what belongs to the whole stands on the outer one.
"""

from __future__ import annotations

from typing import Any

from flowc import ir, syntax
from flowc.suggest import did_you_mean

from .context import Context, Scope, Value
from .payloads import Payload, bodies_of
from .setting_values import Reader
from .signatures import Signature
from .sources import ARGUMENTS, SOURCES, Part, read_source
from .targets import callee_name

__all__ = ["read_triggers"]

#: arguments of a trigger as a whole, and the kinds of sources that they mean something for
_WHOLE: dict[str, tuple[str, ...]] = {
    "args": SOURCES,
    "missed": ("cron", "interval", "at", "custom", "any_of", "all_of"),
    "jitter": ("cron", "interval", "at", "custom", "any_of", "all_of"),
    "start": SOURCES,
    "end": SOURCES,
}
_MISSED = ("latest", "all", "skip")
_GROUPS = ("any_of", "all_of")


def read_triggers(place: Context, cx: Context, node: syntax.FlowDecl, signature: Signature) -> tuple[ir.Trigger, ...]:
    """The triggers of a flow, in written order. `place` is the flow's head, where constants can be read."""
    found: list[ir.Trigger] = []
    seen: dict[str, syntax.Ident] = {}
    for statement in node.body.statements:
        if not isinstance(statement, syntax.TriggerStmt):
            continue
        first = seen.setdefault(statement.name.text, statement.name)
        if first is not statement.name:
            labels = (place.label(first, "first here"),)
            place.report(
                "duplicate-name", statement.name, labels=labels, name=first.text, what="a trigger of this flow"
            )
            continue
        trigger = _Trigger(place, cx, signature).read(statement)
        if trigger is not None:
            found.append(trigger)
    return tuple(found)


class _Trigger:
    """Reads one trigger."""

    def __init__(self, place: Context, cx: Context, signature: Signature) -> None:
        self._place = place
        self._cx = cx
        self._signature = signature
        self._reader = Reader(place)

    def read(self, node: syntax.TriggerStmt) -> ir.Trigger | None:
        part = self._part(node.value, is_whole=True)
        if part is None:
            return None
        event_id = self._cx.state.new_id()
        # neither the values of a flow's steps nor its variables are there when a run is about to start
        inner = self._cx.derive(out=None, scope=Scope(), is_constant="", variables=None)
        payload = Payload(inner, self._signature, event_id, bodies_of(self._place, part))
        args = payload.arguments(node, part.whole.get("args"))
        over = inner.derive(scope=Scope())
        for param in self._signature.params:
            if param.node is not None and param.name in args:
                over.bind_param(param.node.name, Value(args[param.name], param.type))
        source = read_source(Reader(self._place, keys=over), payload, part)
        if source is None:
            return None
        fields = {key: value for key, value in self._whole(part).items() if value is not None}
        line = self._place.line_of(node)
        return ir.Trigger(name=node.name.text, line=line, source=source, event_id=event_id, args=args, **fields)

    # -- arguments ----------------------------------------------------------------------------------------------------

    def _part(self, node: syntax.Expression, *, is_whole: bool) -> Part | None:
        """A source with its arguments by name, and the parts of one that is made of others."""
        name = callee_name(node.func) if isinstance(node, syntax.Call) else None
        if not isinstance(node, syntax.Call) or name not in SOURCES:
            written = name or callee_name(node) or self._place.source_text(node).strip("`")
            hint = did_you_mean(written, SOURCES, "triggers are " + ", ".join(f"`{one}(…)`" for one in SOURCES))
            if written in SOURCES:
                hint = f"write its arguments: `{written}(…)`"
            self._place.report("unknown-name", node, name=written, kind="trigger", hint=hint)
            return None
        part = Part(node, name)
        fits = True
        for position, arg in enumerate(node.args):
            if arg.name is None and name in _GROUPS:
                inner = self._part(arg.value, is_whole=False)
                fits = fits and inner is not None
                part.parts += () if inner is None else (inner,)
            else:
                fits = self._argument(part, position, arg, is_whole=is_whole) and fits
        if name in _GROUPS and fits and len(part.parts) < 2:
            self._place.report("bad-call", node, name=name, problem="it takes at least two triggers",
                               usage=f'{name}(event("a"), event("b"))')  # fmt: skip
            return None
        return part if fits else None

    def _argument(self, part: Part, position: int, arg: syntax.Arg, *, is_whole: bool) -> bool:
        """Puts an argument where it belongs; False after a finding."""
        known = ARGUMENTS[part.name]
        key = arg.name.text if arg.name is not None else known[position] if position < min(1, len(known)) else ""
        where = arg.name or arg.value
        if key in part.args or key in part.whole:
            self._place.report("duplicate-name", where, name=key, what=f"given to `{part.name}`")
            return False
        if key in known:
            part.args[key] = arg.value
        elif key in _WHOLE and part.name in _WHOLE[key] and is_whole:
            part.whole[key] = arg.value
        else:
            self._unknown(part, key, where, is_whole=is_whole)
            return False
        return True

    def _unknown(self, part: Part, key: str, where: syntax.Node, *, is_whole: bool) -> None:
        names = [*ARGUMENTS[part.name], *(key for key, kinds in _WHOLE.items() if part.name in kinds)]
        listed = ", ".join(f"`{name}`" for name in names)
        if not key:
            hint = f"name it: `{part.name}` takes {listed}"
            self._place.report("too-many-arguments", where, callee=part.name, limit=min(1, len(ARGUMENTS[part.name])),
                               hint=hint)  # fmt: skip
            return
        hint = did_you_mean(key, names, f"`{part.name}` takes {listed}")
        if not is_whole and key in _WHOLE:
            hint = f"`{key}` is for the trigger as a whole: give it to the outer `any_of` or `all_of`"
        self._place.report("unknown-argument", where, callee=part.name, name=key, hint=hint)

    # -- the whole ----------------------------------------------------------------------------------------------------

    def _whole(self, part: Part) -> dict[str, Any]:
        """Missed times, jitter, start and end."""
        given, reader = part.whole, self._reader
        fields: dict[str, Any] = {}
        if "missed" in given:
            fields["missed"] = reader.choice(given["missed"], "missed", _MISSED)
        if "jitter" in given:
            fields["jitter_ms"] = reader.duration(given["jitter"], "jitter")
        for key in ("start", "end"):
            if key in given:
                fields[f"{key}_ms"] = part.moment(reader, given[key], key)
        start, end = fields.get("start_ms"), fields.get("end_ms")
        if start is not None and end is not None and start >= end:
            reader.wrong(given["end"], "end", "later than `start`", "not later", "the trigger would never start a run")
        return fields
