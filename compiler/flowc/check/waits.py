"""Tasks that wait for the world: `run: wait("signal")`. They need no worker, and have few settings.

What can be waited for is a kind of `WAITS`, which says what the arguments are called and of which types they are. A
signal that is declared in the program brings what its declaration says, and so has its wait, if the task leaves that
open (`returns json`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flowc import ir, syntax
from flowc.resolve import Symbol
from flowc.source import Span
from flowc.suggest import did_you_mean
from flowc.types import BOOL, DATETIME, DURATION, ERROR, JSON, STRING, Literals, Optional, Record, Type

from .context import BROKEN, Context, Row, Value, With
from .names import is_broken
from .signatures import Signature
from .types import assignable, shown

__all__ = ["SIGNAL", "WAITS", "check_declared", "check_wait", "is_signal", "read_wait",
           "signal_name"]  # fmt: skip

#: the kind whose `name` is a signal's
SIGNAL = "signal"
_DECISION = Record((("approved", BOOL), ("by", STRING), ("note", Optional(STRING)), ("at", DATETIME)))


class _Kind(NamedTuple):
    """What can be waited for."""

    #: the arguments that it needs, and those that it knows besides
    needs: dict[str, Type]
    knows: dict[str, Type]
    #: None: whatever the task declares
    gives: Type | None


WAITS: dict[str, _Kind] = {
    "sleep": _Kind({"for": DURATION}, {}, DATETIME),
    "until": _Kind({"at": DATETIME}, {}, DATETIME),
    SIGNAL: _Kind({"name": STRING}, {"missed": Literals(("keep", "drop"))}, None),
    "event": _Kind({"subject": STRING}, {"key": STRING}, None),
    "approval": _Kind(
        {},
        {
            "group": STRING,
            "show": JSON,
            "title": STRING,
            "on_timeout": Literals(("fail", "reject", "approve")),
            "on_reject": Literals(("fail", "return")),
        },
        _DECISION,
    ),
    "approved": _Kind({"by": STRING}, {"note": Optional(STRING)}, _DECISION),
}

#: settings that a wait has
_SETTINGS = ("run", "timeout", "delay", "at", "tags")
#: what to say of others
_HINTS = {
    "retry": "a wait is not repeated: handle the time-out with `catch`, or wait in a `repeat`",
    "deadline": "write `timeout: …`: a wait has one attempt",
    "expires": "write `timeout: …`: it begins as soon as it may",
    "soft_timeout": "write `timeout: …`",
}


def read_wait(place: Context, signature: Signature, node: syntax.Expression) -> str:
    """What `wait("…")` of a task names; "" after a finding."""
    kind = node.value if isinstance(node, syntax.Literal) and node.kind == "string" else None
    found = WAITS.get(kind) if isinstance(kind, str) else None
    if found is None or not isinstance(kind, str):
        known = ", ".join(f'`"{name}"`' for name in WAITS)
        hint = did_you_mean(kind if isinstance(kind, str) else "", WAITS, f"what can be waited for is {known}")
        place.report("invalid-setting", node, name="wait", wanted="what is waited for", found=place.source_text(node),
                     hint=hint)  # fmt: skip
        return ""
    place.shared.waits[signature.symbol] = kind
    _check_params(place, signature, node, kind, found)
    _check_result(place, signature, node, kind, found)
    return kind


def _check_params(place: Context, signature: Signature, node: syntax.Node, kind: str, found: _Kind) -> None:
    known = {**found.needs, **found.knows}
    for param in signature.params:
        at = param.node or node
        if param.name not in known:
            hint = did_you_mean(param.name, known, "it takes " + (_listed(known) or "no arguments"))
            place.report("unknown-argument", at, callee=f'wait("{kind}")', name=param.name, hint=hint)
        elif not assignable(param.type, known[param.name]):
            wanted = f'{shown(known[param.name])}, as `wait("{kind}")` takes it'
            place.report("invalid-setting", at, name=param.name, wanted=wanted, found=shown(param.type),
                         hint=f"declare `{param.name}: {shown(known[param.name])}`")  # fmt: skip
    for name in found.needs:
        if name not in signature.by_name:
            hint = f"add the parameter `{name}: {shown(known[name])}` to the task"
            place.report("missing-setting", node, name=name, where=f'`wait("{kind}")`', hint=hint)


def _check_result(place: Context, signature: Signature, node: syntax.Node, kind: str, found: _Kind) -> None:
    if found.gives is not None and not assignable(found.gives, signature.returns):
        hint = f"declare `returns {shown(found.gives)}`"
        place.report("invalid-setting", node, name=f'wait("{kind}")', wanted=f"declared with {hint.split(' ', 1)[1]}",
                     found=f"declared with {shown(signature.returns)}", hint=hint)  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def signal_name(cx: Context, callee: Symbol, node: syntax.Expression) -> Value | None:
    """The value of a declared signal that a wait names, as `signal(review)`; None for any other argument. Reports a
    name that is nothing."""
    if cx.shared.waits.get(callee) != SIGNAL or not isinstance(node, syntax.Name):
        return None
    if not is_signal(cx, node):
        return _no_signal(cx, node)
    symbol = cx.module.names[node.id]
    cx.shared.used.add(symbol.key)
    return Value(["lit", symbol.name], Literals((symbol.name,)))


def _no_signal(cx: Context, node: syntax.Name) -> Value | None:
    name = node.id
    if name in cx.module.names or cx.scope.find(name) is not None or name in ("_", "run") or is_broken(cx, name):
        return None
    signals = [known for known, symbol in cx.module.names.items() if symbol.kind == "signal"]
    hint = did_you_mean(name, signals, f"declare `signal {name}: …`, or write its name as a text")
    cx.report("unknown-name", node, name=name, kind="signal", hint=hint)
    return BROKEN


def is_signal(cx: Context, node: syntax.Expression) -> bool:
    """It names a declared signal."""
    if not isinstance(node, syntax.Name) or cx.scope.find(node.id) is not None:
        return False
    symbol = cx.module.names.get(node.id)
    return symbol is not None and symbol.kind == "signal"


def check_wait(cx: Context, node: syntax.Node, signature: Signature, args: dict[str, ir.Expr], row: Row | None) -> Type:
    """The type of what a wait gives. Reports settings of the task and its `with` that mean nothing here."""
    if isinstance(row, With):
        _check_settings(cx, row)
    kind = cx.shared.waits[signature.symbol]
    op, *name = args.get("name", [""])
    if kind != SIGNAL or op != "lit":
        return WAITS[kind].gives or signature.returns
    brought = _brought(cx, name[0])
    if signature.returns == JSON:
        return brought
    if brought != JSON and not assignable(brought, signature.returns):
        consumer, producer = f"`{signature.symbol.name}`", f"the signal `{name[0]}`"
        cx.report(
            "type-mismatch", node, consumer=consumer, expected=shown(signature.returns), producer=producer,
            found=shown(brought), detail="",
        )  # fmt: skip
    return signature.returns


def _brought(cx: Context, name: str) -> Type:
    """The type of what a signal of this name brings."""
    declared = cx.shared.signals.get(name)
    symbol = cx.shared.resources.get(("signal", name))
    if symbol is not None:
        cx.shared.used.add(symbol.key)
    return JSON if declared is None or declared == ERROR else declared


def _check_settings(cx: Context, row: With) -> None:
    for field, place in row.places.items():
        if field in row:
            _check_setting(cx, field.removesuffix("_ms"), place)


def check_declared(place: Context, seen: Mapping[str, syntax.Node]) -> None:
    """Reports settings of a task that waits which mean nothing there."""
    for name, key in seen.items():
        _check_setting(place, name, place.span(key))


def _check_setting(cx: Context, name: str, place: Span) -> None:
    if name not in _SETTINGS:
        hint = _HINTS.get(name, "a wait runs on no worker: its settings are `timeout`, `delay`, `at` and `tags`")
        cx.shared.findings.add("misplaced-setting", place, help=hint, name=name, where="a step that waits", hint=hint)
