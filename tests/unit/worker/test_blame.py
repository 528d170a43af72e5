"""The search for the unit that ends its process, where the process is seen from outside only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from flowc import plan as plans
from flowrun.messages import Bundle
from flowrun.worker.blame import Blame
from flowrun.worker.job import Job
from flowrun.worker.judge import Judge
from flowrun.worker.unwanted import Unwanted

from tests.unit.worker.harness import call


def jobs_of(count: int) -> list[Job]:
    """Jobs of one unit each, whose tokens are 0, 1, …"""
    plan, item = call("tasks:f")
    digest = plans.digest(plans.encode(plan))
    bundles = [Bundle(f"b{n}", "p", "default", (digest,), (item,)) for n in range(count)]
    return [Job(bundle, {digest: plan}, base) for base, bundle in enumerate(bundles)]


def dead(*running: int) -> Any:
    """A process that was killed while these tokens ran."""
    memory = SimpleNamespace(running=lambda width: [(token, 0.0) for token in running])
    return SimpleNamespace(memory=memory, width=8, code=-9)


def test_the_search_goes_on_when_its_process_dies_before_the_batch_began() -> None:
    jobs, blame, judge = jobs_of(3), Blame(), Judge("thread", Unwanted())
    blame.settle(dead(1, 2), jobs, judge)
    assert blame.searches
    assert blame.most([0, 1, 2], 8, jobs) == 1  # one at a time; 0 had not begun, and goes first all the same
    assert blame.most([1, 2], 8, jobs) == 0
    blame.settle(dead(), jobs, judge)
    assert blame.most([0, 1, 2], 8, jobs) == 1
    jobs[0].pending.clear()
    assert blame.most([1, 2], 8, jobs) == 1
    blame.settle(dead(1), jobs, judge)
    (failed,) = jobs[1].take_outcomes()
    assert failed.error is not None
    assert failed.error.type == "WorkerDied"
    assert blame.most([2], 8, jobs) == 1
    jobs[2].pending.clear()
    blame.most([], 8, jobs)
    assert not blame.searches


def test_what_comes_behind_the_suspects_is_no_suspect() -> None:
    jobs, blame = jobs_of(4), Blame()
    blame.settle(dead(0, 1), jobs, Judge("async", Unwanted()))
    assert blame.most([0, 1, 2, 3], 8, jobs) == 1
    jobs[0].pending.clear()
    assert blame.most([1, 2, 3], 8, jobs) == 1
    jobs[1].pending.clear()
    assert blame.most([2, 3], 8, jobs) == 2
