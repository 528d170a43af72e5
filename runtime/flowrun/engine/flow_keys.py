"""The idempotency key that a flow makes of a run's arguments, for who submits the run: its id follows from it."""

from __future__ import annotations

import msgspec
from flowc.plan import Plan

from flowrun import values

from .evaluate import ExpressionError, compute_default, compute_key

__all__ = ["ExpressionError", "flow_key"]

_args_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_NULL = b"\xc0"


def flow_key(plan: Plan, args: bytes) -> str:
    """The key of a run with these arguments (a msgpack map); "" if the flow makes none. Raises ExpressionError."""
    if plan.idempotency_key is None:
        return ""
    given = _args_decoder.decode(args)
    found = [_NULL]  # the facts of the run, which nobody knows yet
    for param in plan.params:
        if param.name in given:
            found.append(bytes(given[param.name]))
        elif param.default is not None:
            found.append(compute_default(plan, param.default, found))
        else:
            found.append(_NULL)
    nodes = plan.blocks[0].nodes
    kinds = [plan.types[nodes[i].type] for i in range(len(found))]
    key = compute_key(plan.idempotency_key, found, kinds)
    return str(values.decode_plain(key, _no_blobs))


def _no_blobs(digest: str) -> bytes:
    raise ExpressionError("the key is made of a value above 32 KiB: pass what tells runs apart by itself")
