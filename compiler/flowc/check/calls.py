"""Calls: of tasks and flows, which become steps; of composites, which are inlined; of pure functions.

Arguments are bound to parameters by position, then by name. In a chain the value from the left fills `_`, or, for a
bare name, the only required parameter. Every argument is checked where it is written, so the finding stands there.
"""

from __future__ import annotations

from typing import NamedTuple

from flowc import ir, syntax
from flowc.builtins import FUNCTIONS, part_types, result_type
from flowc.diagnostic import Label
from flowc.resolve import Symbol
from flowc.suggest import did_you_mean
from flowc.types import NULL, STRING, Secret

from .composites import inline
from .context import BROKEN, Context, Row, Value, With, read
from .executors import check_executor
from .handlers import watch_declared
from .names import is_broken, unknown_callable
from .report import accept
from .settings import check_slots, is_limited, names_at, refuse_passed
from .signatures import Param, Signature
from .targets import RULES, callee_name, symbol_of
from .timing import check_attempts
from .types import assignable, shown
from .waits import check_wait, is_signal, signal_name

__all__ = ["bind_arguments", "call", "call_bare", "call_symbol", "function_of"]


_FROM_THE_LEFT = "the value from the left"


class Given(NamedTuple):
    """An argument, before it is checked."""

    name: syntax.Ident | None
    node: syntax.Expression
    value: Value
    #: what it is called in messages; "" for its text
    producer: str = ""


def call(cx: Context, node: syntax.Call, bind: str | None = None, row: With | None = None) -> Value:
    """A call as it is written; `row` is its `with`."""
    symbol = symbol_of(cx.module, node.func)
    if symbol is not None:
        return call_symbol(cx, node, symbol, bind, row)
    name = callee_name(node.func)
    if name is None:
        _not_a_name(cx, node.func)
    elif name in FUNCTIONS and name not in cx.module.names:
        return _function(cx, node, name)
    elif name == "secret":
        return _secret(cx, node)
    elif name in RULES or name == "ident":
        where = "`after`" if name in RULES else "the text of `sql(…)`"
        hint = f"`{name}(…)` stands in {where} only"
        cx.report("wrong-kind", node.func, name=name, what=f"a part of {where}", wanted="a value", hint=hint)
    elif not is_broken(cx, name.partition(".")[0]):
        unknown_callable(cx, node.func, name)
    for arg in node.args:
        if symbol_of(cx.module, arg.value) is None and not is_signal(cx, arg.value):
            cx.expr(arg.value)  # a bare task or signal there belongs to the same mistake
    return BROKEN


def _not_a_name(cx: Context, node: syntax.Expression) -> None:
    """Reports a call of what is no name, as `"a".upper()`."""
    hint = "only tasks, flows, composites and functions are called, by name"
    if isinstance(node, syntax.Attr):
        cx.value(node.value)
        if node.name.text in FUNCTIONS:
            hint = f"values have no methods: write `{node.name.text}(…)`"
    else:
        cx.value(node)
    cx.report("wrong-kind", node, name="(…)", what="an expression", wanted="a task, a flow or a function", hint=hint)


def call_bare(cx: Context, node: syntax.Expression, symbol: Symbol, bind: str | None, row: With | None = None) -> Value:
    """A bare name as the stage of a chain: the value from the left fills its only required parameter."""
    signature = cx.shared.signatures.of(symbol)
    candidates = signature.open or list(signature.params[:1])
    assert cx.pipe is not None
    cx.pipe.used = True
    value = cx.need(node, cx.pipe.value)
    if len(candidates) != 1:
        hint = f"write `{symbol.name}(_, …)` with all its arguments"
        problem = "takes no argument" if not candidates else f"needs {len(candidates)} arguments"
        if not candidates:
            hint = "to run it after the stage before, without its value, use `after`"
        cx.report("bad-stage", node, name=symbol.name, problem=problem, hint=hint)
        return BROKEN
    return _make(cx, node, signature, [Given(None, node, value, _FROM_THE_LEFT)], bind, row, only=candidates[0])


def call_symbol(cx: Context, node: syntax.Call, symbol: Symbol, bind: str | None, row: With | None) -> Value:
    """A call of a task, a flow or a composite."""
    if cx.is_constant:
        cx.report("not-constant", node.func, what=cx.is_constant, name=symbol.name)
        return BROKEN
    if cx.out is None:
        where = "`until`" if cx.flow is not None and cx.pipe is not None else "this place"
        cx.report("call-not-allowed", node, where=where, hint="call it in a flow, and pass its result")
        return BROKEN
    signature = cx.shared.signatures.of(symbol)
    # the step's name is taken before those of its arguments, since it is written before them
    name = cx.state.step_name(bind or symbol.name) if symbol.kind != "composite" else bind
    given = [Given(arg.name, arg.value, signal_name(cx, symbol, arg.value) or cx.value(arg.value)) for arg in node.args]
    return _make(cx, node, signature, given, bind, row, name=name)


# ---- arguments ------------------------------------------------------------------------------------------------------


def _make(
    cx: Context,
    node: syntax.Expression,
    signature: Signature,
    given: list[Given],
    bind: str | None,
    row: With | None,
    *,
    only: Param | None = None,
    name: str | None = None,
) -> Value:
    args = {only.name: _pass(cx, signature, only, given[0])} if only is not None else _bind(cx, node, signature, given)
    symbol = signature.symbol
    if symbol.kind == "composite":
        return inline(cx, node, signature, args, bind, row)
    if args is None:
        return BROKEN
    return _step(cx, node, signature, args, name or cx.state.step_name(bind or symbol.name), row)


def bind_arguments(cx: Context, node: syntax.Call, signature: Signature) -> dict[str, ir.Expr] | None:
    """The arguments of a call that is no step here, by parameter, defaults included; None after a finding."""
    args = _bind(cx, node, signature, [Given(arg.name, arg.value, cx.value(arg.value)) for arg in node.args])
    if args is not None:
        _add_defaults(signature, args)
    return args


def _bind(cx: Context, node: syntax.Expression, signature: Signature, given: list[Given]) -> dict[str, ir.Expr] | None:
    """The arguments by parameter, defaults included; None after a finding about which are given."""
    args: dict[str, ir.Expr] = {}
    fits = True
    for position, arg in enumerate(given):
        param = _param_for(cx, signature, position, arg)
        if param is None:
            fits = False
        elif param.name in args:
            where = arg.name or arg.node
            cx.report("duplicate-name", where, name=param.name, what=f"given to `{signature.symbol.name}`")
        else:
            args[param.name] = _pass(cx, signature, param, arg)
    missing = [param.name for param in signature.params if not param.is_optional and param.name not in args]
    if missing and fits:
        _missing(cx, node, signature, missing)
    return args if fits and not missing else None


def _param_for(cx: Context, signature: Signature, position: int, arg: Given) -> Param | None:
    callee = signature.symbol.name
    if arg.name is None:
        if position < len(signature.params):
            return signature.params[position]
        if position > len(signature.params):
            return None  # the first of them is told
        hint = f"`{callee}` takes {_listing(signature)}"
        cx.report("too-many-arguments", arg.node, callee=callee, limit=len(signature.params), hint=hint)
        return None
    found = signature.by_name.get(arg.name.text)
    if found is None:
        hint = did_you_mean(arg.name.text, signature.by_name, f"`{callee}` takes {_listing(signature)}")
        if arg.name.text in names_at("step") and not hint.startswith("did"):
            hint = f"settings stand behind the call: `{callee}(…) with {{ {arg.name.text}: … }}`"
        labels = _declaration(cx, signature)
        cx.report("unknown-argument", arg.name, labels=labels, callee=callee, name=arg.name.text, hint=hint)
    return found


def _listing(signature: Signature) -> str:
    return ", ".join(f"`{param.name}`" for param in signature.params) or "no arguments"


def _declaration(cx: Context, signature: Signature, param: Param | None = None) -> tuple[Label, ...]:
    """A label at the declaration of the callee, or of its parameter."""
    symbol = signature.symbol
    place = Context(cx.shared, symbol.module)
    if param is not None and param.node is not None:
        return (place.label(param.node, f"`{param.name}` is {shown(param.type)}"),)
    if isinstance(symbol.node, syntax.TaskDecl | syntax.FlowDecl | syntax.Composite):
        return (place.label(symbol.node.signature.name, f"`{symbol.name}` is declared here"),)
    return ()


def _missing(cx: Context, node: syntax.Expression, signature: Signature, missing: list[str]) -> None:
    func = node.func if isinstance(node, syntax.Call) else node
    names = ", ".join(f"`{name}`" for name in missing)
    labels = _declaration(cx, signature)
    example = ", ".join(f"{name}: …" for name in missing)
    plural = "s" if len(missing) > 1 else ""
    callee = signature.symbol.name
    cx.report("missing-argument", func, labels=labels, callee=callee, names=names, plural=plural, example=example)


def _pass(cx: Context, signature: Signature, param: Param, arg: Given) -> ir.Expr:
    """Checks one argument; the finding stands at its value."""
    value = arg.value
    consumer = f"`{param.name}` of `{signature.symbol.name}`"
    labels = () if assignable(value.type, param.type) else _declaration(cx, signature, param)
    return accept(cx, arg.node, value, param.type, consumer, labels, producer=arg.producer)


# ---- steps ----------------------------------------------------------------------------------------------------------


def _step(
    cx: Context, node: syntax.Expression, signature: Signature, args: dict[str, ir.Expr], name: str, row: With | None
) -> Value:
    symbol = signature.symbol
    if symbol.kind == "flow":
        if cx.symbol is not None:
            cx.shared.calls.append((cx.symbol, symbol, cx.span(node)))
        # the defaults are those of tasks: a child run has only what its call says
        is_detached = bool(row and row.pop("detached", False))
        settings = _settings(cx, node, (*cx.rows, row))
        refuse_passed(cx, node, symbol.name, settings)
        if settings.pool is not None:
            cx.shared.pooled_calls.append((settings.pool, symbol, cx.span(node)))
        elif row is not None and "priority" in row and not is_limited(settings):
            # it says who gets permits first; the steps inside have priorities of their own
            cx.report("not-active-yet", node, construct="`priority` on a call of a flow without a `pool`")
        returns = STRING if is_detached else signature.returns
        header = cx.header(node, name, returns)
        step: ir.Step = ir.ChildStep(**header, flow=symbol.key, args=args, settings=settings, detached=is_detached)
    else:
        _add_defaults(signature, args)
        args |= _variables(cx, symbol)
        is_wait = symbol in cx.shared.waits  # the defaults are those of work
        of_task = cx.shared.task_rows.get(symbol)
        settings = _settings(cx, node, (None if is_wait else cx.state.defaults, of_task, *cx.rows, row))
        if settings.concurrency is not None and settings.concurrency.task and settings.pool is not None:
            cx.shared.keyed_calls.append((settings.concurrency.task, settings.pool, cx.span(node)))
        returns = check_wait(cx, node, signature, args, row) if is_wait else signature.returns
        returns = NULL if settings.ignore_result else returns
        header = cx.header(node, name, returns)
        undo = _undo(cx, node, symbol, ignores_result=settings.ignore_result)
        step = ir.CallStep(**header, task=symbol.key, args=args, settings=settings, undo=undo)
    cx.emit(step)
    is_ignored = returns == NULL != signature.returns
    why = f"the result of `{symbol.name}` is ignored" if is_ignored else f"`{symbol.name}` returns nothing"
    void = why if returns == NULL else ""
    value = read(step.id, returns)._replace(step=step.id, void=void)
    if symbol in cx.shared.task_reactions:
        if cx.symbol is not None:
            cx.shared.calls.append((cx.symbol, symbol, cx.span(node)))
        watch_declared(cx, node, signature, args, value)
    return value


def _reads_result(expr: ir.Expr) -> bool:
    return expr == ["arg", "result"] or any(isinstance(part, list) and _reads_result(part) for part in expr)


def _add_defaults(signature: Signature, args: dict[str, ir.Expr]) -> None:
    for param in signature.params:
        if param.name not in args and param.default is not None:
            args[param.name] = param.default


def _variables(cx: Context, task: Symbol) -> dict[str, ir.Expr]:
    """The variables that the text of a task reads, as arguments of a call."""
    symbols = cx.shared.task_variables.get(task, ())
    return {symbol.name: cx.variables(symbol).expr for symbol in symbols} if cx.variables is not None else {}


def _undo(cx: Context, node: syntax.Expression, task: Symbol, *, ignores_result: bool) -> ir.Undo | None:
    """What takes back a call of the task here: with the flow's defaults and its own task's settings."""
    undo = cx.shared.reactions(task).undo
    if undo is None:
        return None
    by, args = undo
    if ignores_result and any(map(_reads_result, args.values())):
        cx.report("no-value", node, what=f"`undo` of `{task.name}` needs its result, which is ignored: it")
    settings = _settings(cx, node, (cx.state.defaults, cx.shared.task_rows.get(by)))
    return ir.Undo(task=by.key, args={**args, **_variables(cx, by)}, settings=settings)


def _settings(cx: Context, node: syntax.Expression, rows: tuple[Row | None, ...]) -> ir.Settings:
    found, is_new = cx.shared.settings(tuple([row for row in rows if row]))
    if is_new:
        check_slots(cx, node, found)
        check_executor(cx, node, found)
        check_attempts(cx, node, found)
    return found


# ---- functions ------------------------------------------------------------------------------------------------------


def _function(cx: Context, node: syntax.Call, name: str) -> Value:
    """A pure function."""
    signature = FUNCTIONS[name]
    values: list[Value | None] = []
    for arg in node.args:
        value = cx.value(arg.value)
        position = len(values)
        if arg.name is not None:
            if arg.name.text not in signature.params:
                hint = did_you_mean(arg.name.text, signature.params, f"it is `{signature.usage}`")
                cx.report("unknown-argument", arg.name, callee=name, name=arg.name.text, hint=hint)
                return BROKEN
            position = signature.params.index(arg.name.text)
        values += [None] * (position + 1 - len(values))
        if values[position] is not None:
            cx.report("duplicate-name", arg.name or arg, name=signature.params[position], what=f"given to `{name}`")
            return BROKEN
        values[position] = value
    given = [value for value in values if value is not None]
    if len(given) != len(values):
        missing = ", ".join(
            f"`{param}`" for param, value in zip(signature.params, values, strict=False) if value is None
        )
        cx.report(
            "missing-argument",
            node.func,
            help=f"it is called as `{signature.usage}`",
            callee=name,
            names=missing,
            plural="",
            example="",
        )
        return BROKEN
    return function_of(cx, node, name, given)


def function_of(cx: Context, node: syntax.Expression, name: str, given: list[Value]) -> Value:
    """A pure function of checked arguments."""
    kinds = tuple(value.type for value in given)
    found = result_type(name, kinds)
    if isinstance(found, str):
        cx.report("bad-call", node, name=name, problem=found, usage=FUNCTIONS[name].usage)
        return BROKEN
    return Value(["call", name, *(value.expr for value in given)], found, parts=part_types(name, kinds) or ())


def _secret(cx: Context, node: syntax.Call) -> Value:
    """`secret("key")`: read by the worker."""
    key = node.args[0].value if len(node.args) == 1 else None
    if not isinstance(key, syntax.Literal) or key.kind != "string":
        cx.report("bad-call", node, name="secret", problem="it takes the key, as a string", usage='secret("key")')
        return BROKEN
    return Value(["secret", key.value], Secret(STRING))
