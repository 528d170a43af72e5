"""Reads service levels: by when a run, or a step, is to begin and to end.

`sla: 2h` says the finish alone; `sla: { finish: 2h, start: 5m, warn: 0.8 }` all; `sla: gold` names a declared one. A
finish can be measured: `p95 * 1.5 ?? 2h` is one and a half times what 95 of 100 earlier runs took at most, and 2h until
enough of them are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flowc import ir, syntax
from flowc.suggest import did_you_mean

from .setting_values import Reader

__all__ = ["FIELDS", "level_of", "service_level"]

#: of a service level
FIELDS = ("finish", "start", "warn")
_QUANTILE = re.compile(r"p([1-9]\d{0,2})")
_MEASURED = re.compile(r"(p\d+)(?:\s*\*\s*(\d+(?:\.\d+)?))?(?:\s*\?\?\s*(\S+))?")
_FINISH = "a duration, as `2h`, or one measured, as `p95 * 1.5 ?? 2h`"


def service_level(reader: Reader, node: syntax.Expression, name: str) -> ir.Sla | None:
    """The value of the setting `sla`."""
    if isinstance(node, syntax.RecordExpr):
        return level_of(reader, node, node.entries, name)
    if _names_one(reader, node):
        found = reader.resource(node, name, "sla")
        return None if found is None else reader.place.shared.slas.get(found)
    finish = _finish(reader, node, name)
    return None if finish is None else ir.Sla(**finish)


def _names_one(reader: Reader, node: syntax.Expression) -> bool:
    """It can only be the name of a service level."""
    name = reader.written_name(node)
    if name is None or (isinstance(node, syntax.Literal) and not reader.is_plain):
        return False
    symbol = reader.place.module.names.get(name)
    if symbol is not None:
        return symbol.kind != "let"
    return _QUANTILE.fullmatch(name) is None if isinstance(node, syntax.Name) else name.isidentifier()


def level_of(
    reader: Reader,
    node: syntax.Node,
    entries: Iterable[syntax.Entry | syntax.Spread],
    name: str,
    declared: str = "",
) -> ir.Sla | None:
    """A service level from its fields; `declared` is its own name."""
    fields: dict[str, Any] = {}
    seen: set[str] = set()
    for entry in entries:
        if isinstance(entry, syntax.Spread):
            reader.place.report("not-supported-yet", entry, construct="a spread in settings")
            continue
        key = entry.key.text
        if key not in FIELDS:
            hint = did_you_mean(key, FIELDS, "it has `finish`, `start` and `warn`")
            reader.place.report("unknown-setting", entry.key, name=key, where=f"`{name}`", hint=hint)
            continue
        seen.add(key)
        fields |= _field(reader, key, entry.value) or {}
    if not seen & {"finish", "start"}:
        hint = "add `finish: 2h`, or `start: 5m`"
        reader.place.report("missing-setting", node, name="finish", where="a service level", hint=hint)
        return None
    return _checked(reader, node, fields, name, declared)


def _field(reader: Reader, key: str, node: syntax.Expression) -> dict[str, Any] | None:
    if key == "finish":
        return _finish(reader, node, key)
    if key == "start":
        start = reader.duration(node, key)
        return None if start is None else {"start_ms": start}
    warn = reader.number(node, key, 0, 1)
    if warn is not None and not 0 < warn < 1:
        reader.wrong(node, key, "between 0 and 1", f"{warn:g}", "write the part of the time that may go by: `0.8`")
        return None
    return None if warn is None else {"warn": warn}


def _checked(reader: Reader, node: syntax.Node, fields: dict[str, Any], name: str, declared: str) -> ir.Sla | None:
    level = ir.Sla(name=declared, **fields)
    if level.finish_ms is not None and level.start_ms is not None and level.start_ms >= level.finish_ms:
        reader.wrong(node, name, "begun before it has ended", "one whose start is as late as its finish",
                     "lower `start`, or raise `finish`")  # fmt: skip
        return None
    if level.warn is not None and level.finish_ms is None and level.quantile is None and "finish" not in fields:
        reader.wrong(node, name, "a record with `finish`, since `warn` is a part of it", "one without",
                     "add `finish: 2h`, or remove `warn`")  # fmt: skip
        return None
    return level


# ---- the finish -----------------------------------------------------------------------------------------------------


def _finish(reader: Reader, node: syntax.Expression, name: str) -> dict[str, Any] | None:
    """The fields of a finish: a duration, or a measured one."""
    if reader.is_plain and isinstance(node, syntax.Literal) and isinstance(node.value, str):
        node = _plain(node)
    measured, fallback = node, None
    if isinstance(node, syntax.Binary) and node.op == "??":
        measured, fallback = node.left, node.right
    found = _measured(reader, measured)
    if found is None:
        duration = reader.duration(node, name) if fallback is None else None
        if fallback is not None:
            reader.wrong(node, name, _FINISH, reader.place.source_text(node), "write `p95 * 1.5 ?? 2h`")
        return None if duration is None else {"finish_ms": duration}
    quantile, factor = found
    if not 0 < quantile < 1 or factor <= 0:
        reader.wrong(node, name, _FINISH, reader.place.source_text(node), "`p50` to `p99`, times more than nothing")
        return None
    fields: dict[str, Any] = {"quantile": quantile, "factor": factor}
    if fallback is not None:
        duration = reader.duration(fallback, name)
        if duration is None:
            return None
        fields["finish_ms"] = duration
    return fields


def _measured(reader: Reader, node: syntax.Expression) -> tuple[float, float] | None:
    """The quantile and the factor of `p95 * 1.5`; None if it is something else."""
    if isinstance(node, syntax.Binary) and node.op == "*":
        sides = (node.left, node.right) if _quantile(reader, node.left) is not None else (node.right, node.left)
        quantile = _quantile(reader, sides[0])
        if quantile is None:
            return None
        factor = reader.number(sides[1], "finish", 0)
        return quantile, 0.0 if factor is None else factor
    quantile = _quantile(reader, node)
    return None if quantile is None else (quantile, 1.0)


def _quantile(reader: Reader, node: syntax.Expression) -> float | None:
    """0.95 of `p95`, 0.999 of `p999`."""
    found = _QUANTILE.fullmatch(node.id) if isinstance(node, syntax.Name) else None
    if found is None or (isinstance(node, syntax.Name) and node.id in reader.place.module.names):
        return None
    return float(f"0.{found[1]}")


def _plain(node: syntax.Literal) -> syntax.Expression:
    """The measured finish in a text of TOML or Python, as syntax."""
    found = _MEASURED.fullmatch(str(node.value).strip())
    if found is None:
        return node
    start, end = node.start, node.end
    made: syntax.Expression = syntax.Name(start, end, found[1])
    if found[2] is not None:
        made = syntax.Binary(start, end, "*", made, syntax.Literal(start, end, "float", float(found[2])))
    if found[3] is not None:
        made = syntax.Binary(start, end, "??", made, syntax.Literal(start, end, "string", found[3]))
    return made
