"""The real worker in a simulation: its agent, with slots that take as long for a task as is drawn at random."""

from __future__ import annotations

import asyncio
import random
import time

from flowc.plan import Plan
from flowrun.errors import FlowError
from flowrun.memory import MemoryTransport
from flowrun.messages import Failure, WorkItem
from flowrun.settings import Settings
from flowrun.worker.agent import Agent
from flowrun.worker.execute import Ended, ended_by
from flowrun.worker.failures import TaskFailed, unpack_failure
from flowrun.worker.inline import InlineSlot
from flowrun.worker.job import Job
from flowrun.worker.presence import Herald
from flowrun.worker.shared import FAILED

from .programs import ROOT, TRANSIENT, settings_of
from .worker import GROUP, LANES, Habits, Watcher, seconds_of

__all__ = ["make_agent", "run_agent"]


#: types of failures that no task is to be blamed for
_OF_THE_STORE = ("TransportError", "StoreError")


class _Slot(InlineSlot):
    def __init__(self, worker: str, habits: Habits, chance: random.Random, watcher: Watcher) -> None:
        super().__init__(ROOT, clock=_clock)
        self._worker, self._habits, self._chance, self._watcher = worker, habits, chance, watcher
        #: the unit that begins may fail, and be tried again
        self._may_fail = False

    async def _unit(self, job: Job, token: int, item: WorkItem) -> Ended | None:
        head, place = job.units.find(token)
        chained = (head.node, *(then.node for then in head.then[: place - 1])) if place > 0 and head.first < 0 else ()
        self._watcher.begins(self._worker, job.bundle, item, place if head.first >= 0 else -1, chained)
        self._may_fail = TRANSIENT in _policy(self._watcher.plans[job.bundle.plans[item.plan]], item)
        return await super()._unit(job, token, item)

    async def _attempt(self, item: WorkItem, digest: str, index: int) -> Ended:
        may_fail = self._may_fail
        await asyncio.sleep(seconds_of(self._chance, self._habits, self._watcher))
        if may_fail and self._chance.random() < self._habits.transient:
            return ended_by(TaskFailed(Failure(TRANSIENT, "not this time")))
        while True:
            ended = await super()._attempt(item, digest, index)
            if ended.state != FAILED or unpack_failure(ended.payload).type not in _OF_THE_STORE:
                return ended
            await asyncio.sleep(self._chance.random())  # the real transport is more patient


def _clock() -> float:
    return time.time()  # that of the simulation while it runs


def _policy(plan: Plan, item: WorkItem) -> tuple[str, ...]:
    """The failures after which the step is tried again."""
    plan = plan.children[item.flow] if item.flow else plan
    policy = settings_of(plan, item.block, item.node).retry
    return policy.only if policy else ()


async def run_agent(agent: Agent, transport: MemoryTransport, name: str, settings: Settings) -> None:
    """To its end. Raises FlowError."""
    herald = Herald(transport, name, GROUP, settings.presence, agent.pools)
    saying = asyncio.create_task(herald.run())
    try:
        await agent.run()
    except BaseExceptionGroup as group:
        found, rest = group.split(FlowError)
        if rest is not None or found is None:
            raise
        raise FlowError(str(found.exceptions[0])) from group
    finally:
        saying.cancel()


def make_agent(
    transport: MemoryTransport, name: str, habits: Habits, settings: Settings, chance: random.Random, watcher: Watcher
) -> Agent:
    slots = [_Slot(name, habits, chance, watcher) for _ in range(habits.slots)]
    return Agent(transport, slots, worker=name, group=GROUP, queues=LANES, ack_wait=settings.ack_wait)
