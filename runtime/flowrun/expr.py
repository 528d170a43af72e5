"""Evaluates the expressions of a plan (their forms are listed in `flowc.ir`).

`compile_expr` turns an expression into a tree of closures once; calling the result with an `Env` gives the value.
An expression always ends: there are no loops but comprehensions over what exists, and an evaluation builds at most
`MAX_ITEMS` items and `MAX_TEXT` characters. There is no clock, no randomness, no I/O. Whatever goes wrong raises
`ExpressionError` with the reason.

Operands carry their Python types: int, float, Decimal, str, bool, bytes, date, datetime, timedelta, list, dict, None.
`a.b` needs the key to be there (a decoded record has all its optional
fields, as null), while `a?.b` is null where it is not. Negative indexes count from the end.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .arithmetic import OPERATORS, Binary, negated
from .functions import ATTRIBUTES, FUNCTIONS, MAX_ITEMS, MAX_TEXT, Budget, ExpressionError, pairs
from .text import kind_name, show

__all__ = [
    "MAX_ITEMS",
    "MAX_TEXT",
    "Compiled",
    "Env",
    "ExpressionError",
    "compile_expr",
    "evaluate",
    "show",
    "unpacked",
]

Expr = list[Any]


def _no_secret(key: str) -> object:
    raise ExpressionError(f"the secret `{key}` can be read on a worker only, as an argument or a field of its own")


class Env:
    """What an expression can read."""

    __slots__ = ("args", "budget", "inputs", "secret", "vars")

    def __init__(
        self,
        inputs: Sequence[object] = (),
        args: Mapping[str, object] | None = None,
        secret: Callable[[str], object] = _no_secret,
    ) -> None:
        #: the values of the node's inputs, decoded
        self.inputs = inputs
        #: the arguments of the task, in templates
        self.args = args or {}
        #: gives a secret by its key
        self.secret = secret
        #: names that comprehensions bind
        self.vars: dict[str, Any] = {}
        #: what may still be built
        self.budget = Budget()


Compiled = Callable[[Env], Any]


def compile_expr(expr: Expr) -> Compiled:
    """The expression as a function of its environment, which raises only ExpressionError."""
    run = _compile(expr)

    def evaluate_in(env: Env) -> Any:
        try:
            return run(env)
        except ZeroDivisionError:
            raise ExpressionError("division by zero") from None
        except RecursionError:
            raise ExpressionError("a value is nested too deeply") from None
        except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise ExpressionError(f"the expression has no value: {error}") from error

    return evaluate_in


#: expressions of plans in use, by identity; each entry holds its expression, so an id is never another one's
_cache: OrderedDict[int, tuple[Expr, Compiled]] = OrderedDict()
_CACHE_SIZE = 20_000


def evaluate(expr: Expr, env: Env) -> Any:
    """The value of an expression, which is compiled the first time. Raises ExpressionError."""
    found = _cache.get(id(expr))
    if found is None:
        found = _cache[id(expr)] = (expr, compile_expr(expr))
        if len(_cache) > _CACHE_SIZE:
            _cache.popitem(last=False)
    return found[1](env)


def _compile(expr: Expr) -> Compiled:
    return _FORMS[expr[0]](expr)


# ---- constants and names --------------------------------------------------------------------------------------------


def _constant(value: object) -> Compiled:
    return lambda env: value


def _in(expr: Expr) -> Compiled:
    position = expr[1]
    return lambda env: env.inputs[position]


def _arg(expr: Expr) -> Compiled:
    name = expr[1]
    return lambda env: env.args[name]


def _var(expr: Expr) -> Compiled:
    name = expr[1]
    return lambda env: env.vars[name]


def _secret(expr: Expr) -> Compiled:
    key = expr[1]
    return lambda env: env.secret(key)


def _ident(expr: Expr) -> Compiled:
    raise ExpressionError("`ident(…)` stands in the template of `sql` only")


# ---- lists and records ----------------------------------------------------------------------------------------------


def _list(expr: Expr) -> Compiled:
    items = [_compile(item) for item in expr[1:]]
    return lambda env: [item(env) for item in items]


def _record(expr: Expr) -> Compiled:
    fields = [(name, _compile(value)) for name, value in expr[1]]
    return lambda env: {name: value(env) for name, value in fields}


def _merge(expr: Expr) -> Compiled:
    left, right = _compile(expr[1]), _compile(expr[2])
    return lambda env: {**left(env), **right(env)}


def _attr(expr: Expr) -> Compiled:
    value, name = _compile(expr[1]), expr[2]
    return lambda env: _attribute(value(env), name)


def _attribute(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        raise ExpressionError(f"there is no `{name}`: there are {_some(value)}")
    if value is None:
        raise ExpressionError(f"null has no `{name}`: use `?.{name}`, or a default with `??`")
    found = ATTRIBUTES.get(type(value), {}).get(name)
    if found is None:
        raise ExpressionError(f"a value of type {kind_name(value)} has no `{name}`")
    return found(value)


def _some(value: dict[str, Any]) -> str:
    names = [f"`{name}`" for name in list(value)[:8]]
    return ", ".join(names) + (", …" if len(value) > len(names) else "") if names else "no fields"


def _optional_attr(expr: Expr) -> Compiled:
    value, name = _compile(expr[1]), expr[2]

    def read(env: Env) -> Any:
        found = value(env)
        if isinstance(found, dict):
            return found.get(name)
        return None if found is None else _attribute(found, name)

    return read


def _index(expr: Expr) -> Compiled:
    value, index = _compile(expr[1]), _compile(expr[2])
    return lambda env: _item(value(env), index(env))


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, dict):
        if index in value:
            return value[index]
        raise ExpressionError(f"there is no {show(index)!r}: there are {_some(value)}")
    if not isinstance(value, list | str):
        raise ExpressionError(f"a value of type {kind_name(value)} has no items")
    if not isinstance(index, int) or isinstance(index, bool):
        raise ExpressionError(f"an index must be an int, not {kind_name(index)}")
    if not -len(value) <= index < len(value):
        raise ExpressionError(f"index {index} is out of range: there are {len(value)} items")
    return value[index]


def _slice(expr: Expr) -> Compiled:
    value, first, last = (_compile(part) for part in expr[1:4])

    def cut(env: Env) -> Any:
        whole = value(env)
        if not isinstance(whole, list | str):
            raise ExpressionError(f"a value of type {kind_name(whole)} cannot be sliced")
        part = whole[first(env) : last(env)]
        (env.budget.text if isinstance(part, str) else env.budget.items)(len(part))
        return part

    return cut


# ---- operators ------------------------------------------------------------------------------------------------------


def _op(expr: Expr) -> Compiled:
    """`a + b + c …` leans to the left, and is walked in a loop: a long sum is no deep one."""
    spine: list[tuple[Binary, Compiled]] = []
    while expr[0] == "op":
        spine.append((OPERATORS[expr[1]], _compile(expr[3])))
        expr = expr[2]
    start = _compile(expr)
    if len(spine) == 1:
        function, right = spine[0]
        return lambda env: function(env.budget, start(env), right(env))
    spine.reverse()

    def run(env: Env) -> Any:
        value = start(env)
        for function, right in spine:
            value = function(env.budget, value, right(env))
        return value

    return run


def _neg(expr: Expr) -> Compiled:
    value = _compile(expr[1])
    return lambda env: negated(value(env))


def _condition(expr: Expr, where: str) -> Callable[[Env], bool]:
    value = _compile(expr)

    def run(env: Env) -> bool:
        found = value(env)
        if isinstance(found, bool):
            return found
        raise ExpressionError(f"`{where}` needs true or false, not {kind_name(found)}")

    return run


def _not(expr: Expr) -> Compiled:
    value = _condition(expr[1], "not")
    return lambda env: not value(env)


def _and(expr: Expr) -> Compiled:
    left, right = _condition(expr[1], "and"), _condition(expr[2], "and")
    return lambda env: left(env) and right(env)


def _or(expr: Expr) -> Compiled:
    left, right = _condition(expr[1], "or"), _condition(expr[2], "or")
    return lambda env: left(env) or right(env)


def _default(expr: Expr) -> Compiled:
    left, right = _compile(expr[1]), _compile(expr[2])

    def run(env: Env) -> Any:
        found = left(env)
        return right(env) if found is None else found

    return run


def _if(expr: Expr) -> Compiled:
    condition, then, otherwise = _condition(expr[1], "if"), _compile(expr[2]), _compile(expr[3])
    return lambda env: then(env) if condition(env) else otherwise(env)


def _str(expr: Expr) -> Compiled:
    parts = [_compile(part) for part in expr[1:]]

    def run(env: Env) -> str:
        text = "".join([show(part(env)) for part in parts])
        env.budget.text(len(text))
        return text

    return run


# ---- functions and comprehensions -----------------------------------------------------------------------------------


def _call(expr: Expr) -> Compiled:
    function, args = FUNCTIONS[expr[1]], [_compile(arg) for arg in expr[2:]]
    return lambda env: function(env.budget, *[arg(env) for arg in args])


def unpacked(item: Any, count: int) -> list[Any]:
    """The parts of an item for a pattern of `count` names. Raises ExpressionError."""
    if not isinstance(item, list):
        raise ExpressionError(f"a value of type {kind_name(item)} cannot be taken apart into {count} names")
    if len(item) != count:
        raise ExpressionError(f"an item has {len(item)} parts, and the pattern {count} names")
    return item


def _for(expr: Expr) -> Compiled:
    names, source, body = expr[1], _compile(expr[2]), _compile(expr[3])
    keep = None if expr[4] is None else _condition(expr[4], "if")

    def bind(env: Env, item: Any) -> None:
        if len(names) == 1:
            env.vars[names[0]] = item
        else:
            env.vars.update(zip(names, unpacked(item, len(names)), strict=True))

    def run(env: Env) -> list[Any]:
        found: list[Any] = []
        outer = dict(env.vars)
        for item in pairs(source(env)):
            env.budget.items(1)
            bind(env, item)
            if keep is None or keep(env):
                found.append(body(env))
        env.vars = outer
        return found

    return run


_FORMS: dict[str, Callable[[Expr], Compiled]] = {
    "lit": lambda expr: _constant(expr[1]),
    "date": lambda expr: _constant(dt.date.fromisoformat(expr[1])),
    "datetime": lambda expr: _constant(dt.datetime.fromisoformat(expr[1])),
    "duration": lambda expr: _constant(dt.timedelta(microseconds=expr[1])),
    "decimal": lambda expr: _constant(decimal.Decimal(expr[1])),
    "bytes": lambda expr: _constant(base64.b64decode(expr[1])),
    "in": _in,
    "arg": _arg,
    "var": _var,
    "secret": _secret,
    "ident": _ident,
    "list": _list,
    "record": _record,
    "merge": _merge,
    "attr": _attr,
    "attr?": _optional_attr,
    "index": _index,
    "slice": _slice,
    "op": _op,
    "neg": _neg,
    "not": _not,
    "and": _and,
    "or": _or,
    "??": _default,
    "if": _if,
    "str": _str,
    "call": _call,
    "for": _for,
}
