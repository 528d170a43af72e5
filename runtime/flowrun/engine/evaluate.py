"""Expressions in the coordinator: what can be computed here, and what a worker must compute.

A list or a record of inputs is put together from their bytes, whatever they are, references to large values
included. Anything else is decoded, evaluated and encoded, if no input is or holds a reference; if one does, a worker
evaluates it, for the coordinator reads no blobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn

from flowc.plan import Expr, Plan
from flowc.types import INT, Optional, Type

from flowrun import values, wire
from flowrun.expr import Env, ExpressionError, evaluate

from .graph import Graph

__all__ = ["ArgumentError", "ExpressionError", "arm_of", "compose", "compute", "compute_default", "compute_free",
           "compute_key", "kinds_of"]  # fmt: skip


class ArgumentError(Exception):
    """What a flow is given does not fit its parameters, or its variables."""


def compute(graph: Graph, node: int, expr: Expr, inputs: tuple[bytes, ...]) -> bytes | None:
    """The value of a node's expression; None if a worker must compute it. Raises ExpressionError."""
    composed = compose(expr, inputs)
    if composed is not None:
        return composed
    if any(map(wire.may_hold_blobs, inputs)):
        return None
    return _evaluate(expr, [_decode(data, kind) for data, kind in zip(inputs, kinds_of(graph, node), strict=True)])


def kinds_of(graph: Graph, node: int) -> list[Type]:
    """The types of a node's inputs."""
    types, nodes = graph.plan.types, graph.nodes
    return [
        Optional(types[nodes[given.node].type]) if given.optional else types[nodes[given.node].type]
        for given in nodes[node].inputs
    ]


def compute_key(expr: Expr, inputs: Sequence[bytes], kinds: Sequence[Type]) -> bytes:
    """The value of a concurrency key, over inputs of these types. Raises ExpressionError, also where it is made of a
    value that only a worker can read."""
    used = set(_used(expr))
    if any(wire.may_hold_blobs(inputs[i]) for i in used):
        raise ExpressionError("it is made of a value above 32 KiB: pass what tells them apart by itself")
    given = [
        _decode(data, kind) if i in used else None for i, (data, kind) in enumerate(zip(inputs, kinds, strict=True))
    ]
    return _evaluate(expr, given)


def compute_free(expr: Expr, inputs: Sequence[bytes], kinds: Sequence[Type]) -> bytes:
    """The value of an expression that belongs to no node, over inputs of these types. Raises ExpressionError, also
    where it looks into a value that is not at hand."""
    composed = compose(expr, tuple(inputs)) or _field_of(expr, inputs)
    if composed is not None:
        return composed
    used = set(_used(expr))
    if any(wire.may_hold_blobs(inputs[i]) for i in used):
        raise ExpressionError("it looks into a value that is too large for that: pass it on as a whole")
    return _evaluate(expr, [_decode(data, kinds[i]) if i in used else None for i, data in enumerate(inputs)])


def _field_of(expr: Expr, inputs: Sequence[bytes]) -> bytes | None:
    """A field of an input, as it is; None for any other expression."""
    match expr:
        case ["attr", ["in", position], name] if inputs[position] != wire.NULL and not wire.is_blob(inputs[position]):
            return wire.field(inputs[position], name)
    return None


def _used(expr: Expr) -> Iterator[int]:
    """The inputs that an expression reads."""
    if len(expr) == 2 and expr[0] == "in":
        yield expr[1]
    elif expr and expr[0] != "lit":
        for part in expr:
            if isinstance(part, list):
                yield from _used(part)


def compute_default(plan: Plan, expr: Expr, given: list[bytes]) -> bytes:
    """The default of a parameter, over `run` and the earlier parameters. Raises ExpressionError."""
    composed = compose(expr, tuple(given))
    if composed is not None:
        return composed
    if any(map(wire.may_hold_blobs, given)):
        raise ExpressionError("a default cannot be computed from a value above 32 KiB: pass the argument")
    nodes = plan.blocks[0].nodes
    return _evaluate(expr, [_decode(data, plan.types[nodes[i].type]) for i, data in enumerate(given)])


def compose(expr: Expr, inputs: tuple[bytes, ...]) -> bytes | None:
    """The value of an expression that only puts inputs and constants together; None for any other."""
    match expr:
        case ["in", position]:
            return inputs[position]
        case ["lit", value]:
            return values.encode(value)
        case ["list", *parts]:
            composed = [compose(part, inputs) for part in parts]
            return None if None in composed else wire.make_list([part for part in composed if part is not None])
        case ["record", fields]:
            entries = [(name, compose(part, inputs)) for name, part in fields]
            if any(part is None for _, part in entries):
                return None
            return wire.make_record([(name, part) for name, part in entries if part is not None])
    return None


def arm_of(value: bytes) -> int:
    """The arm that the value of a branch names. Raises ExpressionError if it is no whole number."""
    if len(value) == 1 and value[0] < 0x80:
        return value[0]
    try:
        arm = values.decode(value, INT, _no_blobs)
    except values.TypeMismatch as error:
        raise ExpressionError(f"the condition gives no arm: {error}") from error
    assert isinstance(arm, int)
    return arm


def _evaluate(expr: Expr, inputs: list[object]) -> bytes:
    try:
        return values.encode(evaluate(expr, Env(inputs)))
    except values.NotSerialisable as error:
        raise ExpressionError(str(error)) from error


def _decode(data: bytes, kind: Type) -> object:
    try:
        return values.decode(data, kind, _no_blobs)
    except values.TypeMismatch as error:
        raise ExpressionError(f"an input does not have its declared type: {error}") from error


def _no_blobs(digest: str) -> NoReturn:
    raise ExpressionError("the coordinator reads no blobs")
