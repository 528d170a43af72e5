"""What an elaboration carries along: the program, the flow, the scope, and where steps go.

`Shared` belongs to one compilation: findings, signatures, caches. `FlowState` belongs to one flow: its ids and names.
`Context` is a place in the tree; a construct derives a context of its own for what stands inside it (`derive`), so
nothing has to be restored. Elaborators are plain functions `(context, node, bind) -> Value`; a context reaches them
through `Shared.elaborators`, which keeps the modules free of import cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from flowc import ir, syntax
from flowc.catalog import Findings
from flowc.diagnostic import Label
from flowc.resolve import Module, Symbol
from flowc.source import Span
from flowc.types import ERROR, NULL, Optional, Type, text

from .types import holds_secret

if TYPE_CHECKING:
    from .constants import Lets
    from .signatures import Signatures

__all__ = ["BROKEN", "Context", "Elaborator", "FlowState", "Local", "Reactions", "Returns", "Row", "Scope", "Shared",
           "Value", "With", "read", "returning"]  # fmt: skip

#: parsed settings, by the name of their field in ir.Settings
Row = Mapping[str, Any]


class With(dict[str, Any]):
    """The row that a record of settings sets, and where each of its settings is written."""

    def __init__(self) -> None:
        super().__init__()
        #: by field, the place of the key
        self.places: dict[str, Span] = {}


class Value(NamedTuple):
    """An elaborated expression."""

    expr: ir.Expr
    type: Type
    #: the step that was made for it here, and whose value it is
    step: int | None = None
    #: the members of a group
    members: tuple[int, ...] = ()
    #: of a group: per member, the steps that were made for it here
    made: tuple[tuple[int, ...], ...] = ()
    #: says why there is no value: "`load` returns nothing"; the type is null then
    void: str = ""
    #: of `zip` and `cross`: the types of the parts of an item
    parts: tuple[Type, ...] = ()


class Returns(NamedTuple):
    """What the `return`s of a flow must give."""

    #: None: the flow has no `returns`
    type: Type | None
    #: begins a message: "the result of `f`"
    what: str
    labels: tuple[Label, ...]


#: stands for an expression that was reported
BROKEN = Value(["lit", None], ERROR)


class Reactions(NamedTuple):
    """What a task declares for after its calls."""

    #: what takes it back: the task, and the arguments as ir.Undo has them
    undo: tuple[Symbol, dict[str, ir.Expr]] | None = None
    handlers: tuple[syntax.Handler, ...] = ()
    #: where `undo` is written
    undo_at: Span | None = None


#: of a task that declares nothing
_NO_REACTIONS = Reactions()


class Local:
    """A name of a flow: a parameter, a step, an item."""

    __slots__ = ("depth", "is_each", "is_step", "members", "name", "sources", "span", "used", "value")

    def __init__(self, name: str, value: Value, span: Span | None, *, is_step: bool = False, depth: int = 0) -> None:
        self.name = name
        self.value = value
        self.span = span
        #: `after` can wait for it
        self.is_step = is_step
        #: how many loops it stands in
        self.depth = depth
        #: it is an `each`, whose items some rules count
        self.is_each = False
        self.members = value.members
        self.used = False
        #: the locals of the arms that it merges
        self.sources: list[Local] = []

    @property
    def id(self) -> int | None:
        return self.value.expr[1] if self.value.expr[0] in ("ref", "opt") else None


class Scope:
    """The names of a block; `parent` is the block around it."""

    __slots__ = ("later", "names", "parent")

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.names: dict[str, Local] = {}
        #: where names of this block are bound, also those below; for messages
        self.later: dict[str, syntax.Node] = {}

    def find(self, name: str) -> Local | None:
        scope: Scope | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def find_later(self, name: str) -> syntax.Node | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.later:
                return scope.later[name]
            scope = scope.parent
        return None

    def bindings(self) -> dict[str, syntax.Node]:
        """The statements that bind names, of this block and those around."""
        around = {} if self.parent is None else self.parent.bindings()
        return {**around, **self.later}

    def visible(self) -> Iterable[str]:
        scope: Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.parent


class FlowState:
    """The ids and names of one flow."""

    def __init__(self, symbol: Symbol, defaults: Row) -> None:
        self.symbol = symbol
        #: settings of every step: flow.toml and the flow's own
        self.defaults = defaults
        #: every name bound, for unused names
        self.locals: list[Local] = []
        #: the variables that it reads, and the ids of their values
        self.variables: dict[Symbol, int] = {}
        self._last = 0
        self._names: dict[str, int] = {}
        self._boxes: dict[str, int] = {}

    def new_id(self) -> int:
        self._last += 1
        return self._last

    def variable(self, symbol: Symbol) -> int:
        """The id of a variable's value."""
        if symbol not in self.variables:
            self.variables[symbol] = self.new_id()
        return self.variables[symbol]

    def step_name(self, base: str) -> str:
        """`base`, or `base#2`, `base#3` where it is taken."""
        return _count(self._names, base)

    def box_name(self, base: str) -> str:
        return _count(self._boxes, base)


def _count(counts: dict[str, int], base: str) -> str:
    number = counts.get(base, 0) + 1
    counts[base] = number
    return base if number == 1 else f"{base}#{number}"


Elaborator = Callable[["Context", Any, "str | None"], Value]


class Shared:
    """What one compilation shares."""

    def __init__(
        self,
        findings: Findings,
        elaborators: Mapping[type, Elaborator],
        block: Callable[[Context, syntax.Block], Value | None],
    ) -> None:
        self.findings = findings
        self.elaborators = elaborators
        #: elaborates a block: `blocks.block`
        self.block = block
        #: the bytes of a file beside a module, by its path relative to it; None if there is none
        self.read: Callable[[Module, str], bytes | None] = lambda module, path: None
        self.signatures: Signatures
        self.constants: Lets
        #: calls of flows and composites: (caller, callee, where)
        self.calls: list[tuple[Symbol, Symbol, Span]] = []
        #: calls of flows that hold slots: (pool, callee, where)
        self.pooled_calls: list[tuple[str, Symbol, Span]] = []
        #: calls of tasks that bound their own concurrency, and hold slots too: (key of the task, pool, where)
        self.keyed_calls: list[tuple[str, str, Span]] = []
        #: names of resources and variables that are used, as Symbol.key
        self.used: set[str] = set()
        #: pools, queues and connections of the whole program by kind and name
        self.resources: dict[tuple[str, str], Symbol] = {}
        self.pool_sizes: dict[str, int] = {}
        #: service levels of the whole program
        self.slas: dict[str, ir.Sla] = {}
        #: variables that the texts of tasks read
        self.task_variables: dict[Symbol, list[Symbol]] = {}
        #: signals of the whole program, and the type of what each brings
        self.signals: dict[str, Type] = {}
        #: tasks that wait, and for what: as `waits.WAITS` has it
        self.waits: dict[Symbol, str] = {}
        #: of the queues that have one
        self.queue_priorities: dict[str, int] = {}
        #: warnings about what nothing uses, told at the end if there are no errors: name, place, fields
        self.unused: list[tuple[str, Span, dict[str, Any]]] = []
        #: the settings of tasks
        self.task_rows: dict[Symbol, Row] = {}
        #: of the tasks that have some
        self.task_reactions: dict[Symbol, Reactions] = {}
        self._settings: dict[tuple[int, ...], tuple[ir.Settings, tuple[Row, ...]]] = {}
        self._texts: dict[Type, str] = {}

    def reactions(self, task: Symbol) -> Reactions:
        """What a task declares for after its calls."""
        return self.task_reactions.get(task, _NO_REACTIONS)

    def text(self, kind: Type) -> str:
        found = self._texts.get(kind)
        if found is None:
            found = self._texts[kind] = text(kind)
        return found

    def settings(self, rows: tuple[Row, ...]) -> tuple[ir.Settings, bool]:
        """The merged settings, and whether this combination of rows is new. Rows are known by identity, which is
        what makes this cheap for thousands of calls."""
        key = tuple([id(row) for row in rows])
        found = self._settings.get(key)
        if found is not None:
            return found[0], False
        merged: dict[str, Any] = {}
        for row in rows:
            merged.update(row)
        if "priority" not in merged and merged.get("queue") in self.queue_priorities:
            merged["priority"] = self.queue_priorities[merged["queue"]]
        made = ir.Settings(**merged)
        self._settings[key] = (made, rows)  # the rows stay alive, since their ids are the key
        return made, True


class Context(msgspec.Struct, eq=False):
    """A place in the tree."""

    shared: Shared
    #: whose names and spans are meant
    module: Module
    #: the declaration that is elaborated (a composite while it is inlined)
    symbol: Symbol | None = None
    #: None outside flows
    flow: FlowState | None = None
    scope: Scope = msgspec.field(default_factory=lambda: Scope())
    #: where steps go; None where no step can be
    out: list[ir.Step] | None = None
    #: what a `return` here must give; None where it gives the value of a construct
    returns: Returns | None = None
    #: what `_` stands for, as a cell that notes its use
    pipe: Local | None = None
    #: settings of enclosing `with`, outermost first
    rows: tuple[With, ...] = ()
    #: labels of the composites around
    box: tuple[str, ...] = ()
    #: how many loops are around
    depth: int = 0
    #: line of the call through which a composite is inlined; 0 outside
    line: int = 0
    #: the composites that are being inlined
    inlining: tuple[Symbol, ...] = ()
    #: the block is a flow's own, where settings, triggers and handlers stand
    is_head: bool = False
    #: only constants are allowed: the word for the place, as "the setting `timeout`"
    is_constant: str = ""
    #: the names of the flow around, where only constants are allowed: for messages
    outer: Scope | None = None
    #: gives the value of a variable; None where none can be read
    variables: Callable[[Symbol], Value] | None = None

    def derive(self, **changes: Any) -> Context:
        """This place with some things changed."""
        return msgspec.structs.replace(self, **changes)

    def inside(self, **changes: Any) -> Context:
        """A block inside this place: a scope and a list of steps of its own, which gives a value to its construct."""
        return self.derive(**{"scope": Scope(self.scope), "out": [], "returns": None, "is_head": False, **changes})

    # -- elaboration --------------------------------------------------------------------------------------------------

    def expr(self, node: syntax.Expression, bind: str | None = None) -> Value:
        """Elaborates an expression, which may give no value; `bind` names the step that it makes."""
        return self.shared.elaborators[type(node)](self, node, bind)

    def value(self, node: syntax.Expression) -> Value:
        """Elaborates an expression whose value is used."""
        return self.need(node, self.expr(node))

    def need(self, node: syntax.Node, value: Value) -> Value:
        """Reports a value that is none."""
        if value.void:
            self.report("no-value", node, what=value.void)
            return BROKEN
        return value

    def reading_variables(self) -> Context:
        """This place of a flow, with variables."""

        def variable(symbol: Symbol) -> Value:
            return read(self.state.variable(symbol), self.shared.constants.of(symbol).type)

        return self.derive(variables=variable)

    # -- steps --------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> FlowState:
        assert self.flow is not None
        return self.flow

    def emit(self, step: ir.Step) -> None:
        assert self.out is not None
        self.out.append(step)

    def header(self, node: syntax.Node, name: str, kind: Type) -> dict[str, Any]:
        """The fields that every step has, with a new id."""
        return {
            "id": self.state.new_id(),
            "name": name,
            "line": self.line_of(node),
            "type": self.shared.text(kind),
            "box": self.box,
        }

    def keep(self, node: syntax.Node, value: Value, bind: str | None = None) -> Value:
        """The value as one that a step gives: makes a step of a pure expression."""
        if value.step is not None or value.type == ERROR:
            return value
        if holds_secret(value.type):
            self.report("secret-leak", node, what="the value of a step is stored with the run")
            return BROKEN
        name = self.state.step_name(bind) if bind else ""
        step = ir.ValueStep(**self.header(node, name, value.type), value=value.expr)
        self.emit(step)
        return read(step.id, value.type)._replace(
            step=step.id, members=value.members, void=value.void, parts=value.parts
        )

    def declare(self, name: syntax.Ident, value: Value, *, is_step: bool = False) -> Local:
        """Binds a name in this scope; it must be free here and around."""
        known = self.scope.find(name.text)
        if known is not None or name.text == "run":
            labels = () if known is None or known.span is None else (Label(span=known.span, text="first bound here"),)
            what = "bound" if known is not None else "the record of the run's facts"
            self.report("duplicate-name", name, labels=labels, name=name.text, what=what)
        local = Local(name.text, value, self.span(name), is_step=is_step, depth=self.depth)
        self.scope.names[name.text] = local
        if self.flow is not None:
            self.flow.locals.append(local)
        return local

    def bind_param(self, name: syntax.Ident, value: Value) -> Local:
        """Binds the name of a parameter or an item."""
        local = self.scope.names[name.text] = Local(name.text, value, self.span(name), depth=self.depth)
        return local

    def name_params(self, params: Iterable[syntax.Param | None]) -> None:
        """Makes parameters known where only constants can be used, so that findings can say so."""
        for param in params:
            if param is not None:
                self.bind_param(param.name, BROKEN)

    # -- places and findings ------------------------------------------------------------------------------------------

    def line_of(self, node: syntax.Node) -> int:
        return self.line or self.module.source.position(node.start).line

    def span(self, node: syntax.Node) -> Span:
        return Span(self.module.path, node.start, node.end)

    def label(self, node: syntax.Node, text: str) -> Label:
        return Label(span=self.span(node), text=text)

    def source_text(self, node: syntax.Node, otherwise: str = "this value") -> str:
        """The written text in backquotes where it is short."""
        written = self.module.source.text[node.start : node.end]
        return f"`{written}`" if len(written) <= 40 and "\n" not in written else otherwise

    def note_unused(self, name: str, node: syntax.Node, /, **fields: object) -> None:
        """Notes a warning about what nothing uses; a mistake elsewhere may be the reason."""
        self.shared.unused.append((name, self.span(node), fields))

    def report(
        self,
        name: str,
        node: syntax.Node,
        /,
        *,
        help: str | None = None,
        labels: tuple[Label, ...] = (),
        **fields: object,
    ) -> None:
        self.shared.findings.add(name, self.span(node), help=help, labels=labels, **fields)


def returning(cx: Context, node: syntax.Block, result: Value | None) -> ir.Block:
    """The steps of a block, and what its `return` gives."""
    steps = tuple(cx.out or ())
    if result is None:
        return ir.Block(steps=steps)
    last = next((found for found in reversed(node.statements) if isinstance(found, syntax.Return)), None)
    return ir.Block(steps=steps, result=result.expr, line=0 if last is None else cx.line_of(last))


def read(id: int, kind: Type) -> Value:
    """Reading the value of a step or a parameter: a skipped one is null where the type allows it."""
    return Value(["opt" if isinstance(kind, Optional) or kind == NULL else "ref", id], kind)
