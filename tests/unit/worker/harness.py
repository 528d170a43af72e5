"""A worker on the in-memory transport: tasks from a Python file, bundles in, outcomes out."""

from __future__ import annotations

import asyncio
import textwrap
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from flowc import plan as plans
from flowc.types import ANY, Type
from flowrun import values
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.memory.connection import Connection
from flowrun.messages import Bundle, LogNote, Lost, Outcome, Results, WorkItem, pack, unpack, unpack_events
from flowrun.names import lane
from flowrun.settings import Settings
from flowrun.worker.agent import Agent
from flowrun.worker.frames import ExecutorKind, Setup
from flowrun.worker.inline import InlineSlot
from flowrun.worker.process_slot import ProcessSlot
from flowrun.worker.slot import Slot

_numbers = count()


class Worker:
    """A running worker and this side of its transport."""

    def __init__(self, server: MemoryServer, agent: Agent, slots: Sequence[Slot], kind: ExecutorKind) -> None:
        self.lane = lane("default", kind)
        self.server = server
        self.agent = agent
        self.slots = slots
        self.transport = MemoryTransport(server)
        self.logs: list[LogNote] = []
        self.fence = 0
        #: the worker's own, to be cut
        self.worker_connections: list[Connection] = []
        self._seen = 0
        self._came: deque[Results | Lost] = deque()

    async def submit(self, plan: plans.Plan, items: Sequence[WorkItem], bundle: str | None = None) -> Bundle:
        data = plans.encode(plan)
        digest = plans.digest(data)
        await self.transport.put_blob(digest, data)
        message = Bundle(bundle or f"bundle{next(_numbers)}", "p", self.lane, (digest,), tuple(items))
        await self.transport.dispatch("g", message.lane, 5, "p", pack(message), message.id, self.fence)
        return message

    async def events(self) -> AsyncIterator[Results | Lost]:
        """What the worker writes to the inbox, from where the last reader stopped."""
        while True:
            while self._came:
                yield self._came.popleft()
            async for records in self.transport.read("p", self._seen):
                self._seen = records[-1].seq
                for record in records:
                    self._came.extend(event for event in unpack_events(record.data))  # type: ignore[misc]
                break

    async def outcomes(self, units: int, seconds: float = 30.0) -> list[Outcome]:
        """The outcomes of so many units, in the order of the inbox."""
        found: list[Outcome] = []
        async with asyncio.timeout(seconds):
            async for event in self.events():
                assert isinstance(event, Results), event
                found += event.outcomes
                units -= sum(max(1, outcome.last - outcome.first) for outcome in event.outcomes)
                if units <= 0:
                    return found
        raise AssertionError

    async def run(self, plan: plans.Plan, items: Sequence[WorkItem], seconds: float = 30.0) -> list[Outcome]:
        await self.submit(plan, items)
        units = sum(item.last - item.first if item.first >= 0 else 1 for item in items)
        return await self.outcomes(units, seconds)

    async def call(self, target: str, returns: Type | None = ANY, **args: Any) -> Outcome:
        """One call of a Python function that returns a value of this type."""
        plan, item = call(target, returns, **args)
        (outcome,) = await self.run(plan, [item])
        return outcome

    def value(self, outcome: Outcome) -> Any:
        assert outcome.state == "success", outcome
        return values.decode_plain(outcome.value, self.server.blobs.__getitem__)


def call(
    target: str, returns: Type | None = ANY, types: dict[str, Type] | None = None, settings: Any = None, **args: Any
) -> tuple[plans.Plan, WorkItem]:
    """A plan whose node 1.. are the arguments and whose last node calls the function, and its work item."""
    types = types or {}
    kinds = [*(types.get(name, ANY) for name in args), *([] if returns is None else [returns])]
    task = plans.TaskDef(
        name="task",
        params=tuple(plans.TaskParamDef(name=name, type=i) for i, name in enumerate(args)),
        returns=None if returns is None else len(args),
        operator="python",
        target=target,
    )
    return _plan(task, kinds, settings), _item(args)


def template(
    operator: Any,
    text: plans.Expr,
    returns: Type | None = ANY,
    connection: plans.ConnectionDef | None = None,
    settings: Any = None,
    **args: Any,
) -> tuple[plans.Plan, WorkItem]:
    """The same for a task with a template: `shell` or `sql`."""
    kinds = [*(ANY for _ in args), *([] if returns is None else [returns])]
    task = plans.TaskDef(
        name="task",
        params=tuple(plans.TaskParamDef(name=name, type=i) for i, name in enumerate(args)),
        returns=None if returns is None else len(args),
        operator=operator,
        template=text,
        uses=() if connection is None else (0,),
    )
    plan = _plan(task, kinds, settings)
    return msgspec.structs.replace(plan, connections=() if connection is None else (connection,)), _item(args)


def _plan(task: plans.TaskDef, kinds: Sequence[Type], settings: Any) -> plans.Plan:
    params = [plans.ParamNode(name=param.name, type=i) for i, param in enumerate(task.params)]
    node = plans.TaskNode(
        name="step",
        type=task.returns or 0,
        inputs=tuple(plans.Input(i + 1) for i in range(len(params))),
        task=0,
        args=tuple((param.name, ["in", i]) for i, param in enumerate(task.params)),
        settings=0,
    )
    block = plans.PlanBlock(nodes=(plans.ParamNode(name="run"), *params, node), params=1 + len(params))
    return one_flow((task,), tuple(kinds) or (ANY,), (block,), settings)


def one_flow(
    tasks: tuple[plans.TaskDef, ...], types: tuple[Type, ...], blocks: tuple[plans.PlanBlock, ...], settings: Any = None
) -> plans.Plan:
    return plans.Plan(
        flow="flow",
        file="flow.flow",
        params=(),
        returns=None,
        types=types,
        settings=(settings or plans.StepSettings(),),
        tasks=tasks,
        blocks=blocks,
        version=plans.FORMAT,
    )


def each_of(target: str, kind: Type, returns: Type, source: plans.Expr, settings: Any = None) -> plans.Plan:
    """A plan whose node 1 of block 0 walks a source, input 0 being node 0, and calls the function per item."""
    task = plans.TaskDef(
        name="task", params=(plans.TaskParamDef(name="x", type=0),), returns=1, operator="python", target=target
    )
    each = plans.EachNode(name="each", inputs=(plans.Input(0),), source=source, body=1, simple=True)
    node = plans.TaskNode(name="step", inputs=(plans.Input(0),), task=0, args=(("x", ["in", 0]),), settings=0)
    blocks = (
        plans.PlanBlock(nodes=(plans.ParamNode(name="run"), each), params=1),
        plans.PlanBlock(nodes=(plans.ParamNode(name="x"), node), params=1, result=1),
    )
    return one_flow((task,), (kind, returns), blocks, settings)


def _item(args: dict[str, Any]) -> WorkItem:
    return WorkItem("run", 0, "", 0, 0, 1 + len(args), 1, tuple(values.encode(value) for value in args.values()))


@asynccontextmanager
async def worker(
    root: Path,
    source: str = "",
    *,
    inline: bool = False,
    slots: int = 1,
    kind: ExecutorKind = "process",
    width: int = 1,
    ack_wait: float = 3.0,
) -> AsyncIterator[Worker]:
    """A worker whose project holds `tasks.py`."""
    (root / "tasks.py").write_text(textwrap.dedent(source))
    server = MemoryServer(Settings(ack_wait=ack_wait))
    await MemoryTransport(server).open_partition("p")
    setup = Setup(str(root), (), kind, width)
    made: list[Slot] = [InlineSlot(root) if inline else ProcessSlot(setup) for _ in range(slots)]
    transport = MemoryTransport(server)
    agent = Agent(transport, made, worker="w", group="g", queues=("default",), ack_wait=ack_wait)
    running = Worker(server, agent, made, kind)
    running.worker_connections.append(transport.connection)
    running.fence = await running.transport.fence("p")
    work = asyncio.create_task(agent.run())
    listening = asyncio.create_task(listen(running))
    try:
        yield running
        agent.stop()
        await work
    finally:
        listening.cancel()
        work.cancel()
        await asyncio.wait([work, listening])
        await agent.close()


async def listen(running: Worker) -> None:
    async for data in await running.transport.listen("log", "*"):
        running.logs.append(unpack(data, LogNote))
