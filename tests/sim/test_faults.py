"""A node whose server is slow and forgetful, and whose parts are killed: every run ends as it would have anyway.

Everything is drawn from one seed, so a run that fails here fails again.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from flowc.plan import RetryPolicy, StepSettings
from flowrun.memory import Faults, run_virtual

from tests.support import sample_tasks
from tests.support.node import Node, memory_server
from tests.support.plans import call, each_plan, flow_plan, task

TASKS = "tests.support.sample_tasks"
STUBBORN = (StepSettings(retry=RetryPolicy(max=50, backoff="fixed", first_ms=500)),)
DIAMOND = flow_plan(
    (call("left", 0, (1,)), call("right", 1, (1,)), call("sum", 2, (2, 3)), call("late", 3, (1,), after=())),
    (
        task("double", f"{TASKS}:double", "a"),
        task("fail_once", f"{TASKS}:fail_once", "a"),
        task("add", f"{TASKS}:add", "a", "b"),
        task("nap", f"{TASKS}:nap", "a"),
    ),
    params=("x",),
    settings=STUBBORN,
)


async def _disturb(node: Node, chance: random.Random) -> None:
    """Kills the worker, the coordinator, or both."""
    while True:
        await asyncio.sleep(chance.uniform(1, 40))
        worker, coordinator = chance.choice([(True, False), (False, True), (True, True)])
        if worker:
            await node.kill_worker()
        if coordinator:
            await node.stop_coordinator()
            await node.start_coordinator()
        if worker:
            await node.start_worker()


@pytest.mark.parametrize("seed", range(20))
def test_all_runs_end_well(seed: int) -> None:
    async def main() -> None:
        sample_tasks.forget_calls()
        chance = random.Random(seed)
        faults = Faults(seed=seed, delay=chance.choice([0.0, 0.3, 3.0]), lose_ack=0.1, lose_note=0.5)
        async with Node(memory_server(faults=faults), slots=chance.randint(1, 4)) as node:
            disturbing = asyncio.create_task(_disturb(node, chance))
            plans = [(DIAMOND, {"x": x}, x) for x in range(12)]
            plans += [(each_plan(f"{TASKS}:noop", settings=STUBBORN), {"n": n}, list(range(n))) for n in (0, 1, 700)]
            runs = [(await node.client.submit(plan, args), expected) for plan, args, expected in plans]
            for run, expected in runs:
                async with asyncio.timeout(7 * 24 * 3600):
                    record = await node.client.wait(run)
                assert (record.state, record.error) == ("success", None)
                assert await node.client.value(record) == expected
            disturbing.cancel()
            await asyncio.wait([disturbing])
            assert disturbing.cancelled(), disturbing.exception()

    run_virtual(main())
