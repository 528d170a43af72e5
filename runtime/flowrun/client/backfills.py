"""Backfills as a program has them: asked for, looked at, waited for, stopped.

What asks for the same windows in the same way is the same backfill: its name follows from them. So a command that is
given again attaches to what runs, and goes on with what was stopped. Windows by the thousand travel in several
messages; each is answered by the trigger's partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import blake2b
from typing import Literal

import msgspec
from flowc import plan as plans
from flowc.plan import Plan, TriggerDef

from flowrun.deployments.reading import read_deployed
from flowrun.errors import StoreError
from flowrun.manifest import DeployedFlow
from flowrun.messages import WINDOW_STATES, Backfill, BackfillState, Event, Scheduled
from flowrun.parameters import ArgumentError, encode_some
from flowrun.sources import home_of
from flowrun.transport import Transport

from .clock import Clock
from .errors import Refused
from .questions import Questions
from .requests import Requests
from .window_range import Moment, grid_of, windows_between
from .world import user_name

__all__ = ["Arguments", "BackfillRun", "Backfills", "PlannedWindow", "find_trigger"]

#: windows of one message: some hundred KiB before they are compressed
_PART = 10_000
#: what a window takes, in bytes
_WINDOW_BYTES = 48
#: between two looks at a backfill, in seconds
_LOOK_SECONDS = 0.25
#: one that nobody tells of is looked for this often: whoever leads its partition may just have changed
_MOST_SILENT = 120

#: leaders know of a deployment within this time, in seconds
_DEPLOYED_SECONDS = 15.0

Only = Literal["open", "failed"]
#: values of parameters, or what makes them once the flow's plan is known
Arguments = Mapping[str, object] | Callable[[Plan], Mapping[str, object]]


class PlannedWindow(msgspec.Struct, frozen=True):
    """A window that a backfill would look at."""

    scheduled: Scheduled
    #: "left": it would be run; "kept": it has succeeded; "elsewhere": it runs; "spared": it never ran, and only those
    #: that failed are to be
    state: str


class BackfillRun:
    """A handle of a backfill."""

    def __init__(self, backfills: Backfills, name: str, trigger: str, tz: str, outside: int = 0) -> None:
        self._backfills = backfills
        self.name, self.trigger = name, trigger
        #: the trigger's time zone; "": it is not known
        self.tz = tz
        #: windows of the range that were left out, for they lie outside of the trigger's `start` and `end`
        self.outside = outside

    async def state(self) -> BackfillState | None:
        """How it stands; None: nobody tells."""
        return await self._backfills.state(self.name, self.trigger)

    async def wait(self, timeout: float | None = None) -> BackfillState:
        """How it ended. `timeout` in seconds: then TimeoutError. Raises Refused if it is nowhere."""
        async with asyncio.timeout(timeout):
            async for state in self.states():
                if state.state != "running":
                    return state
        raise Refused(f"nobody tells of the backfill {self.name}")

    async def states(self, every: float = _LOOK_SECONDS) -> AsyncIterator[BackfillState]:
        """How it stands, again and again (asynchronously), until it has ended: that is the last one."""
        silent = 0
        while True:
            found = await self.state()
            if found is None:
                silent += 1
                if silent > _MOST_SILENT:
                    raise Refused(f"nobody tells of the backfill {self.name}: does a node live? (`flowc nodes`)")
            else:
                silent = 0
                yield found
                if found.state != "running":
                    return
            await asyncio.sleep(every)

    async def stop(self) -> BackfillState:
        """Starts nothing more of it; what runs goes on to its end. Raises Refused."""
        return await self._backfills.stop(self.name, self.trigger)


class Backfills:
    """Of one client. `count`: partitions of the environment."""

    def __init__(
        self, transport: Transport, requests: Requests, questions: Questions, clock: Clock, count: int
    ) -> None:
        self._transport, self._requests, self._questions = transport, requests, questions
        self._clock, self._count = clock, count

    async def start(
        self, target: str, first: Moment, last: Moment, *, reverse: bool, only: Only, concurrency: int,
        args: Arguments, by: str,
    ) -> BackfillRun:  # fmt: skip
        """Raises ArgumentError, Refused, and what `Requests.ask` raises."""
        flow, definition = await self._trigger(target)
        trigger = f"{flow.name}.{definition.name}"
        found = windows_between(trigger, definition, first, last, self._clock.now_ms())
        times = found.times[::-1] if reverse else found.times
        plan = await self._plan(flow)
        encoded, blobs = encode_some(plan, args(plan) if callable(args) else args)
        for digest, data in blobs:
            await self._transport.put_blob(digest, data)
        wanted = Backfill(
            trigger, "", (), concurrency, only, encoded, by or user_name(), name=name_of(trigger, times, only, encoded)
        )
        for part in _parts(wanted, times):
            await self._ask_patiently(part)
        return BackfillRun(self, wanted.name, trigger, grid_of(trigger, definition).tz, found.outside)

    async def preview(
        self, target: str, first: Moment, last: Moment, *, reverse: bool, only: Only
    ) -> list[PlannedWindow]:
        """What `start` would do. Raises as it does."""
        flow, definition = await self._trigger(target)
        trigger = f"{flow.name}.{definition.name}"
        found = windows_between(trigger, definition, first, last, self._clock.now_ms()).times
        times = found[::-1] if reverse else found
        states = b""
        for part in _parts(Backfill(trigger, "", (), 1, only, dry=True, name="dry"), times):
            states += msgspec.msgpack.decode(await self._ask_patiently(part), type=bytes)
        return [PlannedWindow(time, WINDOW_STATES[state]) for time, state in zip(times, states, strict=True)]

    async def all(self, limit: int = 100) -> tuple[BackfillState, ...]:
        """Those that run, and the latest that ended; what began last comes first."""
        return (await self._questions.backfills("", "", limit))[:limit]

    async def state(self, name: str, trigger: str) -> BackfillState | None:
        found = await self._questions.backfills(name, home_of(trigger, self._count), 1)
        return found[0] if found else None

    async def handle(self, name: str) -> BackfillRun:
        """Raises Refused if there is none."""
        found = await self._questions.backfills(name, "", 1)
        if not found:
            raise Refused(
                f"there is no backfill `{name}`, or nobody leads its partition just now: `flowc backfill --list` shows "
                "those that are known"
            )
        return BackfillRun(self, name, found[0].trigger, await self._zone(found[0].trigger))

    async def stop(self, name: str, trigger: str) -> BackfillState:
        answer = await self._ask(Backfill(trigger, "", (), 1, name=name, stop=True))
        return msgspec.msgpack.decode(answer, type=BackfillState)

    async def _ask_patiently(self, wanted: Backfill) -> bytes:
        """A deployment takes a moment to get around: what is deployed is soon known to its partition."""
        until = asyncio.get_running_loop().time() + _DEPLOYED_SECONDS
        while True:
            try:
                return await self._ask(wanted)
            except Refused as error:
                if error.code != "unknown" or asyncio.get_running_loop().time() > until:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, wanted: Backfill) -> bytes:
        def event(client: str, id: str) -> Event:
            return msgspec.structs.replace(wanted, id=id, client=client)

        size = len(wanted.args) + _WINDOW_BYTES * len(wanted.times)
        return await self._requests.ask(home_of(wanted.trigger, self._count), event, size)

    async def _trigger(self, target: str) -> tuple[DeployedFlow, TriggerDef]:
        deployed = await read_deployed(self._transport)
        return find_trigger([one.manifest.flows for one in deployed.values()], target)

    async def _zone(self, trigger: str) -> str:
        try:
            return grid_of(trigger, (await self._trigger(trigger))[1]).tz
        except ArgumentError:
            return ""  # it is not deployed any more

    async def _plan(self, flow: DeployedFlow) -> Plan:
        try:
            return plans.decode(await self._transport.get_blob(flow.plan))
        except plans.PlanError as error:
            raise StoreError(f"the plan of the deployed flow `{flow.name}` cannot be read: {error}") from error


def find_trigger(projects: list[tuple[DeployedFlow, ...]], target: str) -> tuple[DeployedFlow, TriggerDef]:
    """The trigger of a deployed flow, "flow.trigger"; of "flow" the only one that follows a clock. Raises
    ArgumentError."""
    name, _, wanted = target.partition(".")
    flow = next((flow for flows in projects for flow in flows if flow.name == name), None)
    if flow is None:
        names = sorted(flow.name for flows in projects for flow in flows)
        listed = f"there are {', '.join(names[:20])}" if names else "nothing is deployed (`flowc deploy`)"
        raise ArgumentError(f"no flow `{name}` is deployed: {listed}")
    if wanted:
        for definition in flow.triggers:
            if definition.name == wanted:
                return flow, definition
        listed = ", ".join(f"`{one.name}`" for one in flow.triggers) or "none"
        raise ArgumentError(f"the flow `{name}` has no trigger `{wanted}`; it has {listed}")
    return flow, _only_clock(flow)


def _only_clock(flow: DeployedFlow) -> TriggerDef:
    clocks = []
    for definition in flow.triggers:
        try:
            grid_of(f"{flow.name}.{definition.name}", definition)
        except ArgumentError:
            continue
        clocks.append(definition)
    if len(clocks) == 1:
        return clocks[0]
    if clocks:
        names = " or ".join(f"`{flow.name}.{one.name}`" for one in clocks)
        raise ArgumentError(f"the flow `{flow.name}` has several triggers with windows: name one, {names}")
    raise ArgumentError(
        f"the flow `{flow.name}` has no windows, for no trigger of it follows a clock: give it one, as "
        '`trigger daily = cron("0 6 * * *", tz: "Europe/Berlin")`, and deploy it; or start single runs with '
        f"`flowc submit`"
    )


def name_of(trigger: str, times: tuple[Scheduled, ...], only: str, args: bytes) -> str:
    """The name of a backfill: such as `bf-3k9x…`, the same for the same windows in the same order and the same
    arguments."""
    digest = blake2b(f"{trigger}\0{only}\0".encode() + args, digest_size=8)
    digest.update(b"".join(time.at_ms.to_bytes(8, "big", signed=True) for time in times))
    return "bf-" + digest.hexdigest()[:12]


def _parts(wanted: Backfill, times: tuple[Scheduled, ...]) -> list[Backfill]:
    """The messages that ask for it: the windows' trigger is that of the message."""
    short = [msgspec.structs.replace(time, trigger="") for time in times]
    return [
        msgspec.structs.replace(wanted, times=tuple(short[first : first + _PART]), first=first, total=len(times))
        for first in range(0, len(times), _PART)
    ]
