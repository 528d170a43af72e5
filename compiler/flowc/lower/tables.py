"""The tables of a plan: what many nodes share is kept once, in the order of its first use."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from flowc import ir, plan
from flowc.types import Type

from .fold import fold
from .type_text import parse

__all__ = ["Tables", "lowered_concurrency", "lowered_sla"]

T = TypeVar("T", bound=Hashable)

_NO_KEYS: Mapping[str, plan.Expr] = MappingProxyType({})


class _Table(Generic[T]):
    """Values without repeats; a value's index never changes."""

    def __init__(self) -> None:
        self.rows: list[T] = []
        self._index: dict[T, int] = {}

    def add(self, row: T) -> int:
        index = self._index.setdefault(row, len(self.rows))
        if index == len(self.rows):
            self.rows.append(row)
        return index

    def append(self, row: T) -> int:
        """A value that is shared with nobody."""
        self.rows.append(row)
        return len(self.rows) - 1


class Tables:
    """All tables of one plan."""

    def __init__(self, program: ir.Program) -> None:
        self._program = program
        self.types: _Table[Type] = _Table()
        self.settings: _Table[plan.StepSettings] = _Table()
        self.tasks: list[plan.TaskDef] = []
        self.pools: _Table[plan.PoolDef] = _Table()
        self.limits: _Table[plan.LimitDef] = _Table()
        self.connections: list[plan.ConnectionDef] = []
        #: signals that are waited for, and the index of the type of what each brings
        self.signals: dict[str, int] = {}
        self._task_index: dict[tuple[str, bool], int] = {}
        self._connection_index: dict[str, int] = {}
        self._type_index: dict[str, int] = {}
        #: by identity, since the checker shares settings; they live as long as the program
        self._settings_index: dict[int, int] = {}

    def type(self, text: str) -> int:
        """The index of a type by its canonical text."""
        index = self._type_index.get(text)
        if index is None:
            index = self._type_index[text] = self.types.add(parse(text))
        return index

    def setting(self, settings: ir.Settings, keys: Mapping[str, plan.Expr] = _NO_KEYS) -> int:
        """The index of settings. `keys` are over the inputs of one node, so what has some is its own."""
        if keys:
            return self.settings.append(self._lowered(settings, keys))
        index = self._settings_index.get(id(settings))
        if index is None:
            index = self._settings_index[id(settings)] = self.settings.add(self._lowered(settings))
        return index

    def _lowered(self, settings: ir.Settings, keys: Mapping[str, plan.Expr] = _NO_KEYS) -> plan.StepSettings:
        retry, concurrency, cache, batch = settings.retry, settings.concurrency, settings.cache, settings.batch
        return plan.StepSettings(
            queue=settings.queue,
            priority=settings.priority,
            pool=None if settings.pool is None else self._pool(settings.pool),
            slots=settings.slots,
            limit=None if settings.limit is None else self._limit(settings.limit),
            retry=None if retry is None else plan.RetryPolicy(**retry.model_dump()),
            timeout_ms=settings.timeout_ms,
            deadline_ms=settings.deadline_ms,
            expires_ms=settings.expires_ms,
            delay_ms=settings.delay_ms,
            at_ms=settings.at_ms,
            soft_timeout_ms=settings.soft_timeout_ms,
            executor=settings.executor,
            memory=settings.memory,
            max_tasks_per_process=settings.max_tasks_per_process,
            env=settings.env,
            tags=settings.tags,
            idempotent=settings.idempotent,
            concurrency=None if concurrency is None else lowered_concurrency(concurrency, keys.get("concurrency")),
            at_most_once=settings.at_most_once,
            idempotency_key=keys.get("idempotency_key"),
            cache=None if cache is None else plan.CacheDef(ttl_ms=cache.ttl_ms, key=keys.get("cache")),
            batch=None if batch is None else plan.BatchDef(max=batch.max, within_ms=batch.within_ms),
            sla=lowered_sla(settings.sla),
            updates=settings.updates,
            reads=settings.reads,
        )

    def _pool(self, name: str) -> int:
        pool = self._program.pools[name]
        return self.pools.add(plan.PoolDef(name=pool.name, slots=pool.slots))

    def _limit(self, name: str) -> int:
        limit = self._program.limits[name]
        return self.limits.add(plan.LimitDef(name=limit.name, rate=limit.rate, per_ms=limit.per_ms, burst=limit.burst))

    def waits_for(self, task: str) -> str:
        """What calls of a task wait for, as WaitNode.kind; "" if they are work."""
        found = self._program.tasks[task]
        return found.target if found.operator == "wait" else ""

    def wait_setting(self, settings: ir.Settings) -> int:
        """The index of the settings that a wait has."""
        return self.settings.add(
            plan.StepSettings(
                timeout_ms=settings.timeout_ms, delay_ms=settings.delay_ms, at_ms=settings.at_ms, tags=settings.tags
            )
        )

    def add_signal(self, name: plan.Expr, type: str) -> None:
        """A signal is waited for, by an expression for its name. The first type counts: the checker sees to it that
        there is one."""
        self.signals.setdefault(name[1] if name[0] == "lit" else "", self.type(type))

    def task(self, key: str, *, drops_result: bool = False) -> int:
        """The index of a task by its key in the program; of one whose result is dropped that is another one."""
        index = self._task_index.get((key, drops_result))
        if index is None:
            index = self._task_index[key, drops_result] = len(self.tasks)
            found = self._program.tasks[key]
            self.tasks.append(self._lowered_task(found, None if drops_result else found.returns))
        return index

    def _lowered_task(self, task: ir.Task, returns: str | None) -> plan.TaskDef:
        assert task.operator != "wait", "what waits is no task of the plan"
        return plan.TaskDef(
            name=task.name,
            params=tuple(
                plan.TaskParamDef(name=param.name, type=self.type(param.type), optional=param.optional)
                for param in task.params
            ),
            returns=None if returns is None else self.type(returns),
            operator=task.operator,
            target=task.target,
            template=None if task.template is None else _template(task.template),
            uses=tuple(self._connection(name) for name in task.uses),
        )

    def _connection(self, key: str) -> int:
        index = self._connection_index.get(key)
        if index is None:
            index = self._connection_index[key] = len(self.connections)
            found = self._program.connections[key]
            fields = tuple((name, fold(value)) for name, value in found.fields.items())
            self.connections.append(plan.ConnectionDef(name=found.name, kind=found.kind, fields=fields))
        return index


def lowered_concurrency(concurrency: ir.Concurrency, key: plan.Expr | None) -> plan.ConcurrencyDef:
    """With its key over inputs."""
    return plan.ConcurrencyDef(
        limit=concurrency.limit, key=key, on_conflict=concurrency.on_conflict, name=concurrency.task
    )


def lowered_sla(sla: ir.Sla | None) -> plan.SlaDef | None:
    return None if sla is None else plan.SlaDef(**sla.model_dump())


def _template(expr: ir.Expr) -> ir.Expr:
    """The template with its values folded. One that becomes a constant stays as it is: text is only what is written."""
    if expr[0] != "str":
        return fold(expr)
    folded = [(part, part if part[0] == "lit" else fold(part)) for part in expr[1:]]
    return ["str", *(part if value[0] == "lit" else value for part, value in folded)]
