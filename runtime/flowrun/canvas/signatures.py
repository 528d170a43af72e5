"""Signatures: calls that were not made yet, and how they are put together. Nothing is imported here that costs time.

A signature is a tree: a call of a task (or of a flow), a chain, a group, a chord, or a call per item of a list. What it
means is said in `build`, which makes a plan of it, and in `eager`, which calls the functions at once; how it is
submitted, in `sending`. As in Celery, `set`, `link` and `link_error` change the signature that they are called on, and
`clone` copies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from flowrun.parameters import ArgumentError

from .options import checked_call

if TYPE_CHECKING:
    from flowrun.client.prepared import Prepared

    from .eager import EagerResult

__all__ = [
    "Call", "FlowCall", "Items", "Signature", "chain", "chord", "chunks", "flow", "group", "maybe_signature",
    "signature", "starmap", "xmap",
]  # fmt: skip


class Signature(ABC):
    """What all have in common."""

    #: options of the call, callbacks, error handlers; of a composite they hold for its parts
    options: dict[str, Any]
    links: list[Signature]
    errbacks: list[Signature]
    #: it takes nothing from what stands before it in a chain
    immutable: bool

    def __init__(self, *, immutable: bool = False, **options: Any) -> None:
        self.links, self.errbacks = [], []
        self.immutable = immutable
        self.options = {}
        self.set(**options)

    # ---- to be defined

    @abstractmethod
    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Signature:
        """A copy that is given these arguments first. Raises ArgumentError."""

    @abstractmethod
    def copied(self) -> Signature:
        """A copy of this part; its options, links and error handlers are copied by `clone`."""

    # ---- options

    def set(self, immutable: bool | None = None, **options: Any) -> Signature:
        """`add.s(2).set(queue="math", countdown=10)`. Raises ArgumentError."""
        if immutable is not None:
            self.immutable = immutable
        self._attach(options)
        self.options = {**self.options, **checked_call(options)}
        return self

    def _attach(self, options: dict[str, Any]) -> None:
        for name, add in (("link", self.link), ("link_error", self.link_error)):
            for callback in _listed(options.pop(name, ())):
                add(callback)

    def link(self, callback: Any) -> Signature:
        """Calls it with the result, once this one has succeeded. Gives the callback."""
        found: Signature = maybe_signature(callback)
        self.links = [*self.links, found]
        return found

    def link_error(self, errback: Any) -> Signature:
        """Calls it once for each call that fails. Gives the handler."""
        found: Signature = maybe_signature(errback)
        self.errbacks = [*self.errbacks, found]
        return found

    def on_error(self, errback: Any) -> Signature:
        """As `link_error`, and gives this signature."""
        self.link_error(errback)
        return self

    def clone(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Signature:
        """A copy with arguments and options added."""
        found = self.bound(tuple(args), kwargs or {}) if args or kwargs else self.copied()
        return found.set(**options)

    def _like(self, other: Signature) -> Signature:
        """Takes over what all have in common."""
        self.options, self.links, self.errbacks = other.options, other.links, other.errbacks
        self.immutable = other.immutable
        return self

    @property
    def is_plain(self) -> bool:
        """It has nothing that is said of it as a whole."""
        return not (self.options or self.links or self.errbacks)

    # ---- calls

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Submits it, with arguments before its own."""
        return self.apply_async(args, kwargs)

    def apply_async(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Submits it. Raises ArgumentError, before anything was sent, and what the client raises."""
        from .sending import send  # the client is loaded when something is submitted

        return send(self, tuple(args or ()), kwargs or {}, options)

    def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> EagerResult:
        """Calls all of it here and now, in this thread."""
        from .eager import apply  # few programs do

        return apply(self.bound(tuple(args or ()), kwargs or {}) if args or kwargs else self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.delay(*args, **kwargs)

    def __invert__(self) -> Any:
        return self.delay().get()

    def __or__(self, other: Any) -> Signature:
        if not isinstance(other, Signature) and not hasattr(other, "s"):
            return NotImplemented
        return chain(self, maybe_signature(other))

    def __flow_submission__(self) -> Prepared:
        """What a client submits."""
        from .sending import prepared

        return prepared(self)


def _listed(found: Any) -> Iterable[Any]:
    return found if isinstance(found, list | tuple) else (found,) if found is not None else ()


class Call(Signature):
    """A call of a task: `add.s(2)`."""

    def __init__(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any) -> None:
        #: a Task of the canvas, or "module:function"
        self.task = task
        self.args, self.kwargs = args, kwargs
        super().__init__(**options)

    def __repr__(self) -> str:
        shown = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.name}({', '.join(shown)})"

    @property
    def name(self) -> str:
        return self.task if isinstance(self.task, str) else str(self.task.name)

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        if self.immutable:
            return self
        found = Call(self.task, (*args, *self.args), {**self.kwargs, **kwargs})
        found._like(self)
        return found

    def copied(self) -> Call:
        found = Call(self.task, self.args, dict(self.kwargs))
        found._like(self)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function itself, as in Celery."""
        if isinstance(self.task, str):
            raise ArgumentError(f"`{self.task}` is known by name only: use `delay`")
        found = self.bound(args, kwargs)
        return found.task(*found.args, **found.kwargs)


class FlowCall(Signature):
    """A call of a compiled flow. Arguments by position are those of its parameters in order."""

    def __init__(self, plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any) -> None:
        #: a Plan, or the path of a `.flowplan` file
        self.plan = plan
        self.args, self.kwargs = args, kwargs
        super().__init__(**options)

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FlowCall:
        if self.immutable:
            return self
        found = FlowCall(self.plan, (*args, *self.args), {**self.kwargs, **kwargs})
        found._like(self)
        return found

    def copied(self) -> FlowCall:
        found = FlowCall(self.plan, self.args, dict(self.kwargs))
        found._like(self)
        return found


class flow:
    """A compiled flow, to be used as a task: `flow("report.flowplan").s("2026-01-31") | send.s()`."""

    def __init__(self, plan: Any) -> None:
        self._plan = plan

    def s(self, *args: Any, **kwargs: Any) -> FlowCall:
        return FlowCall(self._plan, args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> FlowCall:
        return FlowCall(self._plan, args, kwargs, immutable=True)

    def signature(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> FlowCall:
        return FlowCall(self._plan, tuple(args), dict(kwargs or {}), **options)

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        return self.s(*args, **kwargs).delay()


class chain(Signature):
    """One after the other: each gets the value of the one before it as its first argument."""

    def __new__(cls, *tasks: Any, **options: Any) -> Any:
        if len(tasks) == 1 and cls is chain and not options:
            found = tasks[0]
            if isinstance(found, Signature):
                return found
        return super().__new__(cls)

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if len(tasks) == 1 and tasks[0] is self:
            return  # a chain of a chain is that chain
        if len(tasks) == 1 and not isinstance(tasks[0], Signature):
            tasks = tuple(tasks[0])
        flat: list[Signature] = []
        for task in map(maybe_signature, tasks):
            flat += task.tasks if isinstance(task, chain) and task.is_plain else (task,)
        self.tasks: tuple[Signature, ...] = tuple(flat)
        super().__init__(**options)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks))

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Signature:
        return self._of((self.tasks[0].bound(args, kwargs), *self.tasks[1:]) if self.tasks else ())

    def copied(self) -> Signature:
        return self._of(tuple(task.copied() for task in self.tasks))

    def _of(self, tasks: tuple[Signature, ...]) -> Signature:
        found = object.__new__(chain)
        found.tasks = tasks
        return found._like(self)


class group(Signature):
    """All at once; the value is the list of theirs, in order. A group of one is a list, too."""

    def __init__(self, *tasks: Any, **options: Any) -> None:
        if len(tasks) == 1 and not isinstance(tasks[0], Signature) and not hasattr(tasks[0], "s"):
            tasks = tuple(tasks[0].tasks if isinstance(tasks[0], group) else tasks[0])
        self.tasks: tuple[Signature, ...] = tuple(map(maybe_signature, tasks))
        super().__init__(**options)

    def __repr__(self) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[Signature]:
        return iter(self.tasks)

    def __bool__(self) -> bool:
        return True

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> group:
        return self._of(tuple(task.bound(args, kwargs) for task in self.tasks))

    def copied(self) -> group:
        return self._of(tuple(task.copied() for task in self.tasks))

    def _of(self, tasks: tuple[Signature, ...]) -> group:
        found = object.__new__(group)
        found.tasks = tasks
        found._like(self)
        return found

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> group:
        """Its members begin one after another: the countdown grows by `step` seconds, and starts over at `stop`."""
        wait = start
        for task in self.tasks:
            task.set(countdown=wait)
            wait += step
            if stop is not None and wait > stop:
                wait = start
        return self


class chord(Signature):
    """A group, and a body that gets the list of its results: `chord(group, body)`, or `chord(group)(body)`."""

    def __init__(self, header: Any, body: Any = None, **options: Any) -> None:
        self.header = header if isinstance(header, group) else group(header)
        self.body = None if body is None else maybe_signature(body)
        super().__init__(**options)

    def __repr__(self) -> str:
        return f"chord({self.header!r}, {self.body!r})"

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Signature:
        return chord(self.header.bound(args, kwargs), self.body)._like(self)

    def copied(self) -> Signature:
        return chord(self.header.copied(), None if self.body is None else self.body.copied())._like(self)

    def __call__(self, body: Any = None, **kwargs: Any) -> Any:
        return (self if body is None else chord(self.header, body)._like(self)).apply_async((), {}, **kwargs)

    def as_chain(self) -> chain:
        """What it means. Raises ArgumentError."""
        if self.body is None:
            raise ArgumentError("this chord has no body: write chord(header, body), or chord(header)(body)")
        found = chain(self.header, self.body)
        found._like(self)
        return found


class Items(Signature):
    """A call of a task per item of a list; the value is the list of theirs."""

    #: items are taken apart into arguments
    unpack = False
    #: how many of them go together; 0: none
    size = 0

    def __init__(self, task: Any, items: Iterable[Any], **options: Any) -> None:
        self.task, self.items = task, list(items)
        super().__init__(**options)

    def __repr__(self) -> str:
        return f"{self.task.name}.{type(self).__name__}({len(self.items)} items)"

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Signature:
        """What stands before it in a chain means nothing to it."""
        return self

    def copied(self) -> Signature:
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__)
        return found


class xmap(Items):
    """`add.map(xs)`: add(x) for x in xs."""


class starmap(Items):
    """`add.starmap(pairs)`: add(*pair) for pair in pairs."""

    unpack = True


class chunks(Items):
    """`add.chunks(pairs, 10)`: as starmap, by ten; the value is a list per chunk."""

    unpack = True

    def __init__(self, task: Any, items: Iterable[Any], n: int, **options: Any) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ArgumentError(f"a chunk has 1 item or more, and {n!r} is no such number")
        self.size = n
        super().__init__(task, items, **options)

    def group(self) -> group:
        """A group with a starmap per chunk."""
        items, size = self.items, self.size
        return group([starmap(self.task, items[at : at + size]) for at in range(0, len(items), size)])


def signature(
    task: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, immutable: bool = False,
    app: Any = None, **options: Any,
) -> Any:  # fmt: skip
    """A signature of a task: a task, a function, "module:function", or a name that a task was given."""
    if isinstance(task, Signature):
        return task.clone(args, kwargs, **options)
    return Call(_task(task), tuple(args), dict(kwargs or {}), immutable=immutable, **options)


def maybe_signature(found: Any) -> Any:
    """A signature as it is, and of anything else the one without arguments."""
    return found if isinstance(found, Signature) else signature(found)


def _task(found: Any) -> Any:
    from .tasks import Task, as_task, named

    if isinstance(found, Task):
        return found
    if isinstance(found, str):
        return named(found)
    if isinstance(found, Callable):  # type: ignore[arg-type]
        return as_task(found)
    raise ArgumentError(f'a task is a task, a function or "module:function", and {found!r} is none')
