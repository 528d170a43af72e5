"""What is deployed in some simulations: flows that start by themselves while everything goes wrong.

Their runs have one step that needs no worker, so that they meet the others nowhere but in the inboxes. Every time of
their grids starts one run, and every success of one flow one of the flow behind it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

from flowc.plan import FlowSource, IntervalSource, Plan, TriggerDef, ValueNode
from flowc.schedules import ticks
from flowrun.memory import EPOCH_MS, MemoryServer, MemoryTransport
from flowrun.messages import RunRecord, unpack
from flowrun.records import packed_record
from flowrun.run_ids import run_id_of_window
from flowrun.sources import home_of

from tests.support.deploying import deploy, deployed_flow
from tests.support.plans import flow_plan

from .invariants import Violation

__all__ = ["Deployed"]

#: of simulations that have it
_SHARE = 0.4
#: it is deployed as of this moment, and ticks until that one, in milliseconds
_BEGIN_MS, _END_MS = EPOCH_MS + 400, EPOCH_MS + 16_000


class Deployed:
    """Of one simulation; `is_there`: it has it."""

    def __init__(self, seed: int, partitions: int) -> None:
        chance = random.Random(f"{seed} deployed")
        self._partitions = partitions
        self.is_there = chance.random() < _SHARE
        self._grids = {
            f"{flow}.t{number}": IntervalSource(
                every_ms=chance.choice((500, 900, 1_500, 4_000)), origin_ms=chance.choice((0, 250))
            )
            for flow in ("first", "past")
            for number in range(chance.randint(1, 3))
        }
        self._jitter_ms = chance.choice((0, 0, 300))

    async def deploy(self, transport: MemoryTransport) -> None:
        """Writes the entry; whoever dies meanwhile does it again."""
        flows = [
            deployed_flow(_plan(), *self._triggers(flow), name=flow, depends_on_past=flow == "past")
            for flow in ("first", "past")
        ]
        behind = TriggerDef(name="after", source=FlowSource(flow="first", body=0))
        await deploy(transport, *flows, deployed_flow(_plan(), behind, name="behind"), at_ms=_BEGIN_MS)

    def _triggers(self, flow: str) -> Iterator[TriggerDef]:
        for name, grid in self._grids.items():
            if name.startswith(f"{flow}."):
                yield TriggerDef(
                    name=name.partition(".")[2], source=grid, missed="all", end_ms=_END_MS, jitter_ms=self._jitter_ms
                )

    def _due(self) -> Iterator[tuple[str, int, str]]:
        """(trigger, time, run) of all that must have started one."""
        for trigger, grid in self._grids.items():
            home = home_of(trigger, self._partitions)
            for at_ms in ticks(grid, _BEGIN_MS):
                if at_ms > _END_MS:
                    break
                yield trigger, at_ms, run_id_of_window(trigger, at_ms, 1, home, self._partitions)

    def is_over(self, server: MemoryServer) -> bool:
        """All that is due has ended."""
        if not self.is_there:
            return True
        firsts = sum(trigger.startswith("first.") for trigger, _, _ in self._due())
        ended = Counter(record.flow for record in _records(server))
        return all(server.result(run) is not None for _, _, run in self._due()) and ended["behind"] >= firsts

    def check(self, server: MemoryServer) -> None:
        """At the end. Raises Violation."""
        if not self.is_there:
            return
        due = {run: (trigger, at_ms) for trigger, at_ms, run in self._due()}
        for run, (trigger, at_ms) in due.items():
            data = server.result(run)
            if data is None:
                raise Violation(f"{trigger} at {at_ms - EPOCH_MS} ms started no run ({run}) that ended")
            record = unpack(packed_record(data), RunRecord)
            if record.state != "success" or record.scheduled is None or record.scheduled.at_ms != at_ms:
                raise Violation(f"{trigger} at {at_ms - EPOCH_MS} ms: its run {run} is {record}")
            if record.started_ms < at_ms:
                raise Violation(
                    f"{trigger} at {at_ms - EPOCH_MS} ms started a run {at_ms - record.started_ms} ms early"
                )
        found = _records(server)
        for record in found:
            if record.flow in ("first", "past") and record.run not in due:
                raise Violation(f"run {record.run} of {record.flow} stands for no time that was due: {record}")
        firsts = sum(record.flow == "first" for record in found)
        behind = sum(record.flow == "behind" for record in found)
        if firsts != behind:
            raise Violation(f"{firsts} runs of a flow ended, and {behind} of the one behind it")


def _plan() -> Plan:
    return flow_plan((ValueNode(name="one", value=["lit", 1]),), ())


def _records(server: MemoryServer) -> list[RunRecord]:
    """Of the runs of these flows."""
    found = [unpack(packed_record(data), RunRecord) for run, (data, _) in server.results.items() if run[0] in "te"]
    return [record for record in found if record.flow in ("first", "past", "behind")]
