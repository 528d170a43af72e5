"""Messages of other systems: into the inbox once each, and what is wrong does not stand in the way."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc.plan import AnySource, EventSource, TriggerDef
from flowc.types import INT, JSON, Record
from flowrun.engine.triggered import Triggered
from flowrun.ingress.events import BadBody
from flowrun.ingress.intake import Intake
from flowrun.ingress.refusals import read_refusals
from flowrun.ingress.subjects import decode_message
from flowrun.memory import Faults, MemoryServer, MemoryTransport, run_virtual
from flowrun.messages import Arrived, Cancel, FlowPause, pack_events, unpack_events
from flowrun.settings import Settings

from tests.support.deployed import deploy, flow_of, manifest_of

TYPES = (JSON, Record((("id", INT),)))


def trigger_of(*subjects: str, body: int = 1) -> TriggerDef:
    sources = tuple(EventSource(subject=subject, body=body) for subject in subjects)
    return TriggerDef(name="t", source=sources[0] if len(sources) == 1 else AnySource(sources=sources))


class Leaders:
    """What is led: the trigger's partition, with the trigger as its engine has it; and partition 0."""

    def __init__(self, definition: TriggerDef) -> None:
        self.trigger = Triggered("shop.t", "shop", "shop", "", definition, TYPES, False, False, 0)
        self.partitions = {"0", "1"}

    def triggers(self) -> dict[str, dict[str, Triggered]]:
        return {name: {"shop.t": self.trigger} if name == "1" else {} for name in self.partitions}


class Setup:
    def __init__(self, definition: TriggerDef, settings: Settings | None = None, faults: Faults | None = None) -> None:
        self.definition, self.settings = definition, settings or Settings(partitions=2)
        self.server = MemoryServer(self.settings, faults)
        self.transport = MemoryTransport(self.server)
        self.leaders = Leaders(definition)
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Setup:
        await self.transport.open_partition("1")
        await deploy(self.transport, manifest_of(flow_of("shop", self.definition, types=TYPES)))
        self.start()
        await self.until(lambda: bool(self.server.outside.wanted))
        return self

    def start(self) -> None:
        intake = Intake(MemoryTransport(self.server), self.settings, self.leaders, Path())
        self.tasks.append(asyncio.create_task(intake.run()))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(120):
            while not check():
                await asyncio.sleep(0.05)

    def publish(self, subject: str, data: bytes, id: str = "", kind: str = "") -> None:
        self.server.outside.publish(subject, data, id, kind)

    def arrived(self) -> list[Arrived]:
        records = self.server.inboxes["1"].after(0, 100_000)
        return [event for record in records for event in unpack_events(record.data)]  # type: ignore[misc]

    def events(self) -> list[Any]:
        return [msgspec.msgpack.decode(event.value) for event in self.arrived()]


def test_a_message_arrives() -> None:
    async def main() -> None:
        async with Setup(trigger_of("orders.placed", "orders.*.late")) as setup:
            setup.publish("orders.placed", b'{"id": 1}', "mine")
            setup.publish("orders.7.late", b'{"id": 2}')
            setup.publish("orders.paid", b'{"id": 3}')
            await setup.until(lambda: len(setup.arrived()) == 2)
            first, second = sorted(setup.arrived(), key=lambda event: event.source)
            assert (first.trigger, first.source, first.client) == ("shop.t", 0, "")
            assert second.source == 1
            assert first.id != second.id
            event = next(event for event in setup.events() if event["id"] == "mine")
            assert event | {"at": ""} == {
                "subject": "orders.placed", "key": "", "id": "mine", "at": "", "body": {"id": 1},
            }  # fmt: skip
            assert event["at"].startswith("2026-01-01T00:00:0")
            assert setup.server.outside.kept == {}, "all are acknowledged"

    run_virtual(main())


def test_what_is_wrong_is_shown_and_stands_in_no_way() -> None:
    async def main() -> None:
        async with Setup(trigger_of("orders.placed")) as setup:
            for data in (b"no json", b'{"id": "x"}', b"", b"\xff", b'{"id": 1}'):
                setup.publish("orders.placed", data)
            await setup.until(lambda: len(setup.arrived()) == 1)
            await asyncio.sleep(3)
            refused = await read_refusals(setup.transport, "shop.t")
            assert (refused.count, len(refused.last)) == (4, 4)
            assert [(one.what, one.start) for one in refused.last[:2]] == [
                ("orders.placed", "no json"),
                ("orders.placed", '{"id": "x"}'),
            ]
            assert "`body.id`: expected int, got str" in refused.last[1].reason
            for i in range(100):
                setup.publish("orders.placed", f"wrong {i}".encode())
            await asyncio.sleep(3)
            refused = await read_refusals(setup.transport, "shop.t")
            assert (refused.count, refused.last[-1].start, len(refused.last)) == (104, "wrong 99", 20)
            assert setup.server.outside.kept == {}

    run_virtual(main())


def test_while_it_is_paused_messages_wait() -> None:
    async def main() -> None:
        async with Setup(trigger_of("orders.placed")) as setup:
            setup.leaders.trigger.paused = FlowPause("shop.t", 0)
            await asyncio.sleep(1)
            setup.publish("orders.placed", b'{"id": 1}')
            await asyncio.sleep(60)
            assert setup.arrived() == []
            setup.leaders.trigger.paused = None
            await setup.until(lambda: len(setup.arrived()) == 1)

    run_virtual(main())


def test_another_subject() -> None:
    async def main() -> None:
        async with Setup(trigger_of("orders.placed")) as setup:
            definition = trigger_of("orders.changed")
            await deploy(setup.transport, manifest_of(flow_of("shop", definition, types=TYPES)), number=2)
            setup.leaders.trigger.definition = definition
            await setup.until(lambda: setup.server.outside.wanted == {"shop.t/0": "orders.changed"})
            setup.publish("orders.placed", b'{"id": 1}')
            setup.publish("orders.changed", b'{"id": 2}')
            await setup.until(lambda: len(setup.arrived()) == 1)
            assert setup.events()[0]["body"] == {"id": 2}

    run_virtual(main())


def test_a_full_inbox_lets_them_wait() -> None:
    async def main() -> None:
        settings = Settings(partitions=2, inbox_high_water=500)
        async with Setup(trigger_of("orders.placed"), settings) as setup:
            await setup.transport.append("1", pack_events([Cancel(secrets.token_hex(1_000))]), "something")
            await setup.transport.append("1", pack_events([]), "the last one is not purged")
            await asyncio.sleep(2)
            setup.publish("orders.placed", b'{"id": 1}')
            await asyncio.sleep(30)
            assert setup.server.outside.kept != {}
            await setup.transport.purge_inbox("1", 2)
            await setup.until(lambda: len(setup.arrived()) == 1)
            assert setup.server.outside.kept == {}

    run_virtual(main())


@pytest.mark.parametrize("seed", range(5))
def test_none_is_lost_and_each_has_one_id_whatever_goes_wrong(seed: int) -> None:
    async def main() -> None:
        faults = Faults(seed=seed, delay=0.05, fail=0.05, lose_answer=0.05, lose_ack=0.2, duplicate=0.05)
        settings = Settings(partitions=2, answer_timeout=1, patience=5, heard_wait=3)
        async with Setup(trigger_of("orders.placed"), settings, faults) as setup:
            for i in range(300):
                setup.publish("orders.placed", json.dumps({"id": i}).encode(), f"order {i}" if i % 2 else "")
                if i % 10 == 0:
                    await asyncio.sleep(0.1)
                if i % 70 == 0:
                    await setup.stop()
                    setup.start()
            await setup.until(lambda: not setup.server.outside.kept)
            found = {event.id: msgspec.msgpack.decode(event.value)["body"]["id"] for event in setup.arrived()}
            assert sorted(found.values()) == list(range(300))

    run_virtual(main())


# ---- what a message is


@pytest.mark.parametrize(
    ("data", "kind", "value"),
    [
        (b"", "", None),
        (b"1", "", 1),
        (b'{"a": [1]}', "application/json", {"a": [1]}),
        (msgspec.msgpack.encode({"a": [1]}), "", {"a": [1]}),
        (msgspec.msgpack.encode([1, 2]), "", [1, 2]),
        (msgspec.msgpack.encode(list(range(100))), "", list(range(100))),
        (msgspec.msgpack.encode(49), "application/msgpack", 49),
    ],
)
def test_json_and_msgpack(data: bytes, kind: str, value: object) -> None:
    assert decode_message(data, kind) == value


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"x", ""),
        (b"{", ""),
        (b"\x81\xa1a", ""),
        (b"{}", "application/msgpack"),
        (b"[" * 100_000, ""),
        (b"\x91" * 100_000, ""),
        (msgspec.msgpack.encode([msgspec.msgpack.Ext(1, b"\x94")]), ""),
    ],
)
def test_what_is_neither(data: bytes, kind: str) -> None:
    with pytest.raises(BadBody):
        decode_message(data, kind)
