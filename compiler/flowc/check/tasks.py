"""Tasks: how they run, their settings, and whether a Python function agrees with its declaration."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowc import ir, syntax
from flowc.resolve import PythonFunction, Symbol
from flowc.suggest import did_you_mean
from flowc.types import ERROR, NULL, ListOf, Optional

from .calls import bind_arguments
from .commands import command_text
from .context import Context, Reactions, Row, Scope, Shared, Value
from .handlers import check_event
from .resources import kind_of_connection
from .setting_values import Reader, from_plain
from .settings import read_row, read_setting
from .signatures import Signature
from .targets import callee_name, symbol_of
from .types import assignable, revealed, shown
from .waits import check_declared, read_wait

__all__ = ["TaskInfo", "read_task"]

_OPERATORS = ("python", "shell", "sql", "wait")
#: kinds of connections that `sql` speaks to
_SQL_KINDS = ("sqlite", "duckdb", "postgres", "postgresql", "mysql", "mariadb")


class TaskInfo(NamedTuple):
    """A task as the IR has it, and the settings of its declaration."""

    task: ir.Task
    row: Row


class _Run(NamedTuple):
    """How a task runs."""

    operator: str
    target: str = ""
    template: ir.Expr | None = None
    #: names of connections in `sql(…, on: name)`
    uses: tuple[str, ...] = ()
    function: PythonFunction | None = None


def read_task(shared: Shared, signature: Signature) -> TaskInfo:
    """A task, declared or imported from Python."""
    if signature.symbol.python is not None:
        return _imported(shared, signature, signature.symbol.python)
    return _declared(shared, signature)


def _imported(shared: Shared, signature: Signature, function: PythonFunction) -> TaskInfo:
    symbol = signature.symbol
    place = Context(shared, symbol.module, symbol)
    where = _import_of(symbol)
    _check_output(place, function, where)
    row = _python_row(place, signature, function, where)
    uses = row.pop("uses", ())
    task = _task(shared, signature, _Run("python", function.target), function.doc, uses)
    return TaskInfo(task, row)


def _import_of(symbol: Symbol) -> syntax.Node:
    """The name in the `use` that imports a Python function."""
    for node in symbol.module.file.declarations:
        if isinstance(node, syntax.Use):
            for ident in node.names:
                if ident.text == symbol.name:
                    return ident
    return syntax.Ident(0, 0, symbol.name)


def _python_row(place: Context, signature: Signature, function: PythonFunction, where: syntax.Node) -> dict[str, Any]:
    """The settings in `@task(…)`; findings stand at the import."""
    if not function.settings:
        return {}
    settings = from_plain(function.settings, where.start, where.end)
    assert isinstance(settings, syntax.RecordExpr)
    reader = Reader(place, is_plain=True, keys=_over_params(place, signature, where))
    reader.task = signature.symbol.key
    return read_row(reader, settings.entries, "task")


def _over_params(place: Context, signature: Signature, where: syntax.Node) -> Context:
    """Where the parameters of a task can be read."""
    inner = place.derive(scope=Scope())
    for param in signature.params:
        name = param.node.name if param.node is not None else syntax.Ident(where.start, where.end, param.name)
        inner.bind_param(name, Value(["arg", param.name], param.type))
    return inner


def _reading_variables(inner: Context, task: Symbol) -> Context:
    """Where variables can be read, too: each becomes an argument that every call of the task is given."""

    def variable(symbol: Symbol) -> Value:
        known = inner.shared.task_variables.setdefault(task, [])
        if symbol not in known:
            known.append(symbol)
        return Value(["arg", symbol.name], inner.shared.constants.of(symbol).type)

    return inner.derive(variables=variable)


def _declared(shared: Shared, signature: Signature) -> TaskInfo:
    symbol = signature.symbol
    node = symbol.node
    assert isinstance(node, syntax.TaskDecl)
    place = Context(shared, symbol.module, symbol)
    place.name_params(param.node for param in signature.params)
    inner = _over_params(place, signature, node)
    reader = Reader(place, keys=inner)
    reader.task = symbol.key
    row: dict[str, Any] = {}
    seen: dict[str, syntax.Node] = {}
    run: _Run | None = None
    undo: tuple[Symbol, dict[str, ir.Expr]] | None = None
    handlers: list[syntax.Handler] = []
    is_batch = any(isinstance(one, syntax.Setting) and one.name.text == "batch" for one in node.body.statements)
    for statement in node.body.statements:
        match statement:
            case syntax.Setting(name=key, value=value):
                read_setting(reader, key, value, "task", row, seen)
                if key.text == "run" and seen["run"] is key:
                    run = _run(place, inner, signature, value, is_batch=is_batch)
                elif key.text == "undo" and seen["undo"] is key:
                    undo = _undo(inner, signature, value)
            case syntax.Handler(event=event):
                if check_event(place, event):
                    handlers.append(statement)
            case syntax.Bind(name=key, value=value):
                run = run or (_Run("") if key.text == "run" else None)
                hint = f"did you mean `{key.text}: …`? `:` sets a setting"
                place.report("misplaced-construct", key, help=hint, what="a binding", where="in a flow")
            case syntax.ErrorNode():
                run = run or _Run("")
            case syntax.ExprStmt(value=syntax.Call(func=func)) if callee_name(func) in _OPERATORS:
                run = run or _Run("")
                help = f"write `run: {callee_name(func)}(…)`"
                place.report("misplaced-construct", statement, help=help, what="a step", where="in a flow")
            case _:
                place.report("misplaced-construct", statement, what="a step", where="in a flow")
    if "run" not in seen and run is None:
        hint = 'add `run: python("module:function")`, `run: shell("…")` or `run: sql("…")`'
        place.report("missing-setting", node.signature.name, name="run", where=f"the task `{symbol.name}`", hint=hint)
    run = run or _Run("")
    if "batch" in row and run.operator not in ("", "python"):
        hint = "give a Python function, which takes a list per parameter"
        wanted, found = "on a task that runs Python", f"on one that runs `{run.operator}`"
        place.report("invalid-setting", seen["batch"], name="batch", wanted=wanted, found=found, hint=hint)
    _check_run(place, inner, signature, run, seen)
    if run.function is not None:
        row = {**_python_row(place, signature, run.function, seen["run"]), **row}
    uses = (*run.uses, *(name for name in row.pop("uses", ()) if name not in run.uses))
    if run.operator == "sql" and (uses or "uses" not in seen):
        uses = _database_first(place, node, uses)
    if undo is not None or handlers:
        undo_at = None if undo is None else place.span(seen["undo"])
        shared.task_reactions[symbol] = Reactions(undo, tuple(handlers), undo_at)
    return TaskInfo(_task(shared, signature, run, node.doc, uses), row)


def _called(signature: Signature) -> Signature:
    """What the function of a batch is called with, and gives: lists."""
    params = tuple(param._replace(type=ListOf(param.type), default=None) for param in signature.params)
    returns = signature.returns if signature.returns in (NULL, ERROR) else ListOf(signature.returns)
    return signature._replace(params=params, by_name={param.name: param for param in params}, returns=returns)


def _undo(inner: Context, signature: Signature, node: syntax.Expression) -> tuple[Symbol, dict[str, ir.Expr]] | None:
    """The call that takes back what the task did, over the task's parameters and `result`."""
    symbol = symbol_of(inner.module, node.func) if isinstance(node, syntax.Call) else None
    if not isinstance(node, syntax.Call) or symbol is None or symbol.kind != "task":
        found = inner.source_text(node, "something else")
        hint = "write `undo: release(result)`, where `release` is a task"
        inner.report("invalid-setting", node, name="undo", wanted="a call of a task", found=found, hint=hint)
        return None
    known = signature.by_name.get("result")
    if known is not None:
        where = known.node.name if known.node is not None else node
        inner.report("duplicate-name", where, name="result", what="what `undo` reads the task's result by")
        return None
    void = f"`{signature.symbol.name}` returns nothing" if signature.returns == NULL else ""
    place = inner.derive(scope=Scope(inner.scope))
    value = Value(["arg", "result"], signature.returns, void=void)
    place.bind_param(syntax.Ident(node.start, node.end, "result"), value)
    args = bind_arguments(place, node, inner.shared.signatures.of(symbol))
    return None if args is None else (symbol, args)


def _check_run(place: Context, inner: Context, signature: Signature, run: _Run, seen: dict[str, syntax.Node]) -> None:
    if run.template is not None:
        _note_unused(inner, signature)
    if run.operator == "wait":
        check_declared(place, seen)


def _note_unused(inner: Context, signature: Signature) -> None:
    """Notes the parameters that neither the text nor a setting uses."""
    for param in signature.params:
        if param.node is not None and not inner.scope.names[param.name].used:
            owner = f"the text of `{signature.symbol.name}`"
            inner.note_unused("unused-input", param.node.name, name=param.name, owner=owner)


def _database_first(place: Context, node: syntax.TaskDecl, uses: tuple[str, ...]) -> tuple[str, ...]:
    """The connections with the database in front."""
    if not uses:
        hint = "declare `connection db: duckdb { path: … }` and add `uses: [db]`"
        place.report("missing-setting", node.signature.name, name="uses", where="a task that runs `sql`", hint=hint)
    for name in uses:
        symbol = place.shared.resources.get(("connection", name))
        declared = symbol.node if symbol is not None else None
        if isinstance(declared, syntax.Resource) and kind_of_connection(declared) in _SQL_KINDS:
            return (name, *(other for other in uses if other != name))
    return uses


def _task(shared: Shared, signature: Signature, run: _Run, doc: str | None, uses: tuple[str, ...]) -> ir.Task:
    params = tuple(
        ir.TaskParam(name=param.name, type=shared.text(param.type), optional=param.is_optional)
        for param in signature.params
    )
    variables = shared.task_variables.get(signature.symbol, ())
    params += tuple(
        ir.TaskParam(name=variable.name, type=shared.text(shared.constants.of(variable).type)) for variable in variables
    )
    return ir.Task(
        name=signature.symbol.name,
        doc=doc,
        params=params,
        returns=None if signature.returns == NULL else shared.text(signature.returns),
        operator=run.operator or "python",  # type: ignore[arg-type]
        target=run.target,
        template=run.template,
        uses=uses,
    )


# ---- run ------------------------------------------------------------------------------------------------------------


def _run(place: Context, inner: Context, signature: Signature, node: syntax.Expression, *, is_batch: bool) -> _Run:
    name = callee_name(node.func) if isinstance(node, syntax.Call) else None
    if not isinstance(node, syntax.Call) or name not in _OPERATORS:
        wanted = '`python("module:function")`, `shell("…")` or `sql("…")`'
        hint = did_you_mean(name or "", _OPERATORS, f"write {wanted}")
        found = place.source_text(node.func if isinstance(node, syntax.Call) else node)
        place.report("invalid-setting", node, name="run", wanted=wanted, found=found, hint=hint)
        return _Run("")
    positional = [arg.value for arg in node.args if arg.name is None]
    named = {arg.name.text: arg for arg in node.args if arg.name is not None}
    uses: tuple[str, ...] = ()
    for key, arg in named.items():
        if name == "sql" and key in ("on", "connection"):
            found_name = Reader(place).resource(arg.value, key, "connection")
            uses = (found_name,) if found_name is not None else ()
        else:
            hint = "it takes the text, and `on: connection`" if name == "sql" else "it takes one text"
            place.report("unknown-argument", arg.name or arg, callee=name, name=key, hint=hint)
    if len(positional) != 1:
        place.report("bad-call", node, name=name, problem="it takes one text", usage=f'{name}("…")')
        return _Run("")
    if name == "python":
        return _python(place, signature, positional[0], is_batch=is_batch)
    if name == "wait":
        return _Run(name, read_wait(place, signature, positional[0]))
    text = command_text(_reading_variables(inner, signature.symbol), positional[0], is_sql=name == "sql")
    return _Run(name, template=text, uses=uses)


# ---- python ---------------------------------------------------------------------------------------------------------


def _python(place: Context, signature: Signature, node: syntax.Expression, *, is_batch: bool) -> _Run:
    target = node.value if isinstance(node, syntax.Literal) and node.kind == "string" else None
    if not isinstance(target, str) or target.count(":") != 1 or target[0] == ":" or target[-1] == ":":
        wanted = 'a text "module:function"'
        place.report("invalid-setting", node, name="python", wanted=wanted, found=place.source_text(node),
                     hint='write `python("package.module:function")`')  # fmt: skip
        return _Run("python")
    module, _, name = target.partition(":")
    file = place.module.python.module(module)
    if file is None:
        hint = "it is looked for in the folders of `python = […]` in flow.toml, and in the installed packages"
        place.report("unknown-python", node, what=f"Python module `{module}`", hint=hint)
        return _Run("python", target)
    if file.error is not None:
        line, problem = file.error
        place.report("python-syntax", node, path=file.file, problem=problem, line=line)
        return _Run("python", target)
    function = file.function(name)
    if function is None:
        hint = did_you_mean(name, file.names, f"define it in `{file.file}`")
        place.report("unknown-python", node, what=f"function `{name}` in `{file.file}`", hint=hint)
        return _Run("python", target)
    is_batch = is_batch or "batch" in function.settings
    _compare(place, _called(signature) if is_batch else signature, function, node)
    _check_output(place, function, node)
    for setting in function.unread:
        place.report(
            "python-setting-not-literal", node, setting=setting, name=name, path=file.file, line=function.line
        )  # fmt: skip
    return _Run("python", target, function=function)


def _check_output(place: Context, function: PythonFunction, node: syntax.Node) -> None:
    """Reports a result that cannot travel between processes, as far as its annotation tells."""
    head = function.returns_text.strip("\"'").partition("[")[0].rpartition(".")[2]
    if function.returns is None and head in _UNSERIALISABLE:
        where = f"{function.file}, line {function.line}"
        python = function.returns_text
        place.report("unserialisable-output", node, name=function.name, python=python, where=where)


#: results that no task can give: what runs on, what belongs to one process, and tables that have files for this
_UNSERIALISABLE = frozenset(
    {
        "Iterator", "Generator", "AsyncIterator", "AsyncGenerator", "Awaitable", "Coroutine", "Callable", "IO",
        "TextIO", "BinaryIO", "Lock", "Thread", "Process", "Connection", "Cursor", "complex", "DataFrame",
        "Series", "ndarray",
    }
)  # fmt: skip


def _compare(place: Context, signature: Signature, function: PythonFunction, node: syntax.Node) -> None:
    """Reports where the declaration and the function disagree."""
    where = f"{function.file}, line {function.line}"
    params = {param.name: param for param in function.params}

    def report(at: syntax.Node, problem: str, hint: str) -> None:
        place.report(
            "signature-mismatch", at, task=signature.symbol.name, function=function.name, where=where, problem=problem,
            hint=hint,
        )  # fmt: skip

    needed = [
        known.name
        for known in function.params
        if known.name not in signature.by_name and not known.has_default and not isinstance(known.type, Optional)
    ]
    for param in signature.params:
        at = param.node or node
        known = params.get(param.name)
        if known is None:
            if not function.open_ended:
                otherwise = f"add `{param.name}` to the function, or remove it here"
                if needed:
                    otherwise = f"name it `{needed[0]}`, as the function does"
                hint = did_you_mean(param.name, params, otherwise)
                report(at, f"it has no parameter `{param.name}`", hint)
                needed = needed[1:]  # one of the two names is meant: one finding
        elif known.type is not None and not assignable(revealed(param.type), known.type):
            problem = f"its parameter `{param.name}` is {shown(known.type)}, and {shown(param.type)} is declared"
            report(at, problem, f"declare `{param.name}: {shown(known.type)}`, or change the function's annotation")
    for name in needed:
        kind = params[name].type
        written = name if kind is None else f"{name}: {shown(kind)}"
        report(node, f"it needs `{name}`", f"add the parameter `{written}` to the task")
    _compare_results(signature, function, report)


def _compare_results(signature: Signature, function: PythonFunction, report: Any) -> None:
    declared, given = signature.returns, function.returns
    task = signature.symbol.node
    if given is None or declared in (NULL, ERROR) or not isinstance(task, syntax.TaskDecl):
        return
    at = task.signature.returns
    if given == NULL:
        report(at, f"it returns nothing, and {shown(declared)} is declared", "remove `returns`, or return a value")
    elif not assignable(given, declared) and not assignable(declared, given):
        problem = f"it returns {shown(given)}, and {shown(declared)} is declared"
        report(at, problem, f"declare `returns {shown(given)}`, or change the function's annotation")
