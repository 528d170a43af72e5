"""`flowc run`, from what was asked for to the run's end.

The server and the worker process start first, for they take time without taking ours; then the runtime is imported
and the sources are compiled; then the run is submitted, led to its end and shown (`lead`).
"""

from __future__ import annotations

import asyncio
import gc
import time
from pathlib import Path
from subprocess import Popen

import msgspec
from flowc import plan as plans
from flowc.plan import Plan
from flowrun.run_ids import new_run_id

from .arguments import argument_texts, argument_values, changed_values
from .errors import InputError
from .local import start_node
from .loop import new_loop
from .run_variables import variable_texts
from .runs import RUNNING, SUBMITTING, Run, Runs
from .screen.view import Output
from .targets import Target, find_root, load_target, queues_of, scan_queues

__all__ = ["Order", "run_order"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    file: Path | None
    flow: str | None
    #: "name=value" each
    params: tuple[str, ...]
    #: a run to go on with
    resume: str | None
    #: a server, or None for an own one
    url: str | None
    env: str
    slots: int | None
    output: Output
    #: a run that ended, to go on with, and steps of it that run again
    rerun: str | None = None
    steps: tuple[str, ...] = ()
    #: "name=value" each
    variables: tuple[str, ...] = ()


def run_order(order: Order, worker: Popen[bytes]) -> int:
    """Runs it and shows it; gives the exit code. `worker` was launched and has no configuration yet. Raises
    InputError, FlowError."""
    if order.steps and not order.rerun:
        raise InputError("--from says from where a run goes on", help="name the run: --rerun RUN")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_resume(order, order.resume, worker) if order.resume else _start(order, worker))


async def _start(order: Order, worker: Popen[bytes]) -> int:
    """A new run."""
    root, file = find_root(order.file), order.file
    if file is not None and not file.exists():
        raise InputError("there is no such file", place=str(file))
    args = argument_texts(order.params)
    target: Target | None = None
    before, plan_before = _ended_run(order.rerun, root) if order.rerun else (None, None)
    if plan_before is not None and file is None:
        target = Target(plan_before, root)
    elif file is not None and file.suffix == ".flowplan":
        target = load_target(file, order.flow, root)
    queues = scan_queues(file, root) if target is None else queues_of(target.plan)
    run = new_run_id()
    url, env = (before.url, before.env) if before is not None else (order.url, order.env)
    starting = start_node(worker, root, run, url=url, env=env, slots=order.slots, queues=queues)
    async with starting as node:
        from .lead import Leader  # start-up time: the worker starts while the runtime is imported

        if target is None:
            target = load_target(file, order.flow or (before.flow if before else None), root)
        plan = target.plan
        given = argument_values(plan, args) if before is None else changed_values(plan, args)
        known = Run(
            run=run, flow=plan.flow, plan=plans.digest(plans.encode(plan)),
            args=args if before is None else before.args | args, url=url, env=env, partition=node.partition,
            state=SUBMITTING, started_ms=time.time_ns() // 1_000_000,
            variables=variable_texts(order.variables, plan),
        )  # fmt: skip
        runs = Runs(root)
        runs.add(known, plans.write_file_bytes(plan))
        _collect_garbage_from_now_on()
        again = (before.run, order.steps) if before is not None else None
        return await Leader(order.output, node, runs, known, plan, again).follow(given, resumed=False)


def _ended_run(name: str, root: Path) -> tuple[Run, Plan]:
    """A run of this folder that ended, and its plan. Raises InputError."""
    known, plan = Runs(root).load(name)
    if known.state in (SUBMITTING, RUNNING):
        help = f"`flowc run --resume {known.run}` goes on with it"
        raise InputError(f"the run `{known.run}` has not ended", place=str(root), help=help)
    return known, plan


async def _resume(order: Order, name: str, worker: Popen[bytes]) -> int:
    """Goes on with a run whose process died; the result of one that ended."""
    if order.file is not None or order.flow is not None or order.params or order.variables:
        help = "leave out the file, --flow, -p and --var"
        raise InputError("--resume goes on with a run as it was started", help=help)
    root = find_root(None)
    runs = Runs(root)
    known, plan = runs.load(name)
    url, queues = order.url or known.url, queues_of(plan)
    starting = start_node(worker, root, known.run, url=url, env=known.env, slots=order.slots, queues=queues)
    async with starting as node:
        from .lead import Leader  # as in _start

        _collect_garbage_from_now_on()
        return await Leader(order.output, node, runs, known, plan).follow(
            argument_values(plan, known.args), resumed=True
        )


def _collect_garbage_from_now_on() -> None:
    gc.freeze()
    gc.enable()
