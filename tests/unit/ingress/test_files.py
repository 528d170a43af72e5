"""Files that come: which of them count, and when."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flowc.plan import FileSource, TriggerDef
from flowc.types import FILE, INT, JSON, STRING, Record
from flowrun.engine.triggered import Triggered
from flowrun.ingress.files import FileReader
from flowrun.ingress.globbing import Found, Problem, find
from flowrun.ingress.leftovers import Leftovers
from flowrun.ingress.refusals import Refusals, Refused, read_refusals
from flowrun.ingress.room import Room
from flowrun.ingress.routes import Route
from flowrun.ingress.watching import SHARDS, Watching
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.messages import Arrived, unpack_events
from flowrun.partitions import config
from flowrun.settings import Settings
from hypothesis import given
from hypothesis import strategies as st


def names(found: list[Found], root: Path) -> list[str]:
    return [str(Path(one.path).relative_to(root)) for one in found]


def write(path: Path, text: str = "x", at_ns: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at_ns:
        os.utime(path, ns=(at_ns, at_ns))
    return path


# ---- patterns


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*.csv", ["a.csv"]),
        ("in/*.csv", ["in/b.csv"]),
        ("in/?.csv", ["in/b.csv"]),
        ("in/[a-c].*", ["in/b.csv", "in/c.txt"]),
        ("*/*.csv", ["in/b.csv"]),
        ("**/*.csv", ["a.csv", "in/b.csv", "in/deep/er/d.csv"]),
        ("in/**/*.csv", ["in/b.csv", "in/deep/er/d.csv"]),
        ("in/**", ["in/b.csv", "in/c.txt", "in/deep/er/d.csv"]),
        ("in/**/er/*", ["in/deep/er/d.csv"]),
        ("in/c.txt", ["in/c.txt"]),
        ("in/.*", ["in/.part.csv"]),
        (".hidden/*", [".hidden/e.csv"]),
        ("nowhere/**/*.csv", []),
        ("a.csv/*", []),
        ("in", []),
        ("in/deep/", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, wanted: list[str]) -> None:
    for name in ("a.csv", "in/b.csv", "in/c.txt", "in/.part.csv", "in/deep/er/d.csv", ".hidden/e.csv"):
        write(tmp_path / name)
    assert names(find(tmp_path, pattern), tmp_path) == wanted
    assert names(find(Path("/"), f"{tmp_path}/{pattern}"), tmp_path) == wanted, "and from the root"
    assert names(find(Path("/"), f"file://{tmp_path}/{pattern}"), tmp_path) == wanted


def test_links(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "broken").symlink_to(tmp_path / "nowhere")
    assert names(find(tmp_path, "in/**/*"), tmp_path) == ["in/a", "in/b"]
    assert names(find(tmp_path, "in/*/a"), tmp_path) == ["in/loop/a"]


def test_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.ingress.globbing.MOST", 5)
    for i in range(6):
        write(tmp_path / str(i))
    with pytest.raises(Problem, match="more than 5 files"):
        find(tmp_path, "*")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a")
    (tmp_path / "in").chmod(0)
    try:
        with pytest.raises(Problem, match="permission denied"):
            find(tmp_path, "in/*")
    finally:
        (tmp_path / "in").chmod(0o700)


def test_a_store() -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.pipe("/bucket/in/a.csv", b"12345")
    files.pipe("/bucket/in/deep/b.csv", b"")
    try:
        found = find(Path("/"), "memory://bucket/in/**/*.csv")
        assert [(one.path, one.size) for one in found] == [
            ("memory://bucket/in/a.csv", 5),
            ("memory://bucket/in/deep/b.csv", 0),
        ]
        assert abs(found[0].modified_ns / 1e9 - time.time()) < 60
    finally:
        files.rm("/bucket", recursive=True)
    with pytest.raises(Problem, match="nothing://"):
        find(Path("/"), "nothing://bucket/*")


# ---- which count


def at(path: str, size: int = 1, modified: int = 1, whole: bool = False, since: int = 100) -> Found:
    return Found(path, size, modified, whole, since)


def test_a_file_counts_when_two_looks_find_it_the_same() -> None:
    watching = Watching(None, 50)
    assert watching.look([at("a", 1)]) == []
    assert watching.look([at("a", 2)]) == []
    assert watching.look([at("a", 2, 2)]) == []
    assert watching.look([at("a", 2, 2)]) == [at("a", 2, 2)]
    watching.done([at("a", 2, 2)])
    assert watching.look([at("a", 2, 2)]) == []
    assert watching.look([at("a", 3, 3)]) == [], "it changes: another file"
    assert watching.look([at("a", 3, 3)]) == [at("a", 3, 3)]


def test_what_is_whole_counts_at_once() -> None:
    assert Watching(None, 50).look([at("a", whole=True)]) == [at("a", whole=True)]


def test_what_was_not_dealt_with_counts_again() -> None:
    watching = Watching(None, 50)
    assert watching.look([at("a", whole=True)]) == watching.look([at("a", whole=True)])


def test_what_was_there_before_does_not_count() -> None:
    watching = Watching(None, 50)
    old, new = at("old", since=49), at("new", since=50)
    assert watching.look([old, new]) == []
    assert watching.look([old, new]) == [new]
    late = at("late", since=10)
    watching.look([late])
    assert watching.look([late]) == [late], "once it was looked, whatever is new counts"


def test_what_a_folder_lost_for_a_while_does_not_count_again() -> None:
    watching = Watching(None, 50)
    watching.look([at("a", since=1)])
    watching.look([])
    assert watching.look([at("a", since=1)]) == watching.look([at("a", since=1)]) == []


@given(st.sets(st.integers(0, 3_000), max_size=300), st.sets(st.integers(0, 3_000), max_size=300))
def test_the_next_leader_goes_on_from_what_was_written(before: set[int], new: set[int]) -> None:
    entries: dict[int, bytes] = {}
    watching = Watching(None, 0)
    for some in (before, new):
        files = [at(str(i), whole=True) for i in sorted(some)]
        fresh = watching.look(files)
        watching.done(fresh)
        entries.update(watching.changed())
        assert watching.changed() == {}
    assert len(entries) == SHARDS, "also what is empty says that there was a look"
    after = Watching(entries.values(), 0)
    everything = [at(str(i), whole=True) for i in range(3_001)]
    assert {int(found.path) for found in after.look(everything)} == set(range(3_001)) - before - new


def test_not_all_is_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.ingress.watching.MOST", 5)
    watching = Watching(None, 0)
    for i in range(30):
        watching.done(watching.look([at("always", whole=True), at(str(i), whole=True)]))
    assert sum(len(part) - 1 for part in watching.changed().values()) == 10 * 8
    assert watching.look([at("always", whole=True)]) == []


# ---- on a disk


class Setup:
    def __init__(
        self, root: Path, pattern: str, body: Any = JSON, since_ms: int = 0, server: Any = None, every_ms: int = 20
    ) -> None:
        self.server = server or MemoryServer(Settings(partitions=1))
        self.transport = MemoryTransport(self.server)
        self.refusals = Refusals(self.transport)
        self.source = FileSource(pattern=pattern, body=0, every_ms=every_ms)
        route = Route("shop.files", 0, self.source, body)
        room = Room(self.transport, "0", Settings())
        self.reader = FileReader(self.transport, route, "0", room, self.refusals, root, since_ms)

    async def __aenter__(self) -> Setup:
        await self.transport.open_partition("0")
        self.task = asyncio.create_task(self.reader.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def looks(self, count: int = 3) -> None:
        """Returns after so many looks."""
        await asyncio.sleep(0.04 * count)

    async def come(self, count: int) -> None:
        """Returns when so many have come."""
        async with asyncio.timeout(10):
            while len(self.arrived()) < count:
                await asyncio.sleep(0.01)

    async def refused(self, check: Callable[[Refused], bool]) -> Refused:
        """What is refused, once it is so."""
        async with asyncio.timeout(10):
            while True:
                await self.refusals.flush()
                found = await read_refusals(self.transport, "shop.files")
                if check(found):
                    return found
                await asyncio.sleep(0.01)

    def arrived(self) -> list[Arrived]:
        records = self.server.inboxes["0"].after(0, 10_000)
        return [event for record in records for event in unpack_events(record.data)]  # type: ignore[misc]

    def bodies(self) -> list[Any]:
        return [msgspec.msgpack.decode(event.value)["body"] for event in self.arrived()]


async def test_a_file_arrives(tmp_path: Path) -> None:
    write(tmp_path / "in" / "old.csv")
    body = Record((("path", STRING), ("size", INT), ("modified", JSON)))
    since = time.time_ns() // 1_000_000 + 20
    await asyncio.sleep(0.05)
    async with Setup(tmp_path, "in/*.csv", body, since) as setup:
        await setup.looks()
        write(tmp_path / "in" / "new.csv", "12345")
        await setup.come(1)
        [arrived] = setup.arrived()
        path = str(tmp_path / "in" / "new.csv")
        assert (arrived.trigger, arrived.key) == ("shop.files", path)
        event = msgspec.msgpack.decode(arrived.value)
        assert (event["subject"], event["key"]) == ("in/*.csv", path)
        assert event["id"].startswith(f"{path} ")
        assert event["body"]["path"] == path
        assert event["body"]["size"] == 5
        assert event["body"]["modified"].startswith("20")


async def test_a_file_that_is_written_for_long_counts_once(tmp_path: Path) -> None:
    async with Setup(tmp_path, "*.csv", every_ms=150) as setup:
        with (tmp_path / "a.csv").open("w") as file:
            for _ in range(20):
                file.write("line\n")
                file.flush()
                await asyncio.sleep(0.015)
                assert setup.bodies() == []
        await setup.come(1)
        assert [body["size"] for body in setup.bodies()] == [100]


async def test_a_file_that_is_renamed_into_its_place(tmp_path: Path) -> None:
    part = write(tmp_path / "a.part", "12345")
    time.sleep(0.02)  # the clock of files ticks every few milliseconds only
    part.rename(tmp_path / "a.csv")
    [found] = find(tmp_path, "*.csv")
    assert found.whole, "it counts at the first look"
    [written] = find(tmp_path, "b.csv") if write(tmp_path / "b.csv", "1") else []
    assert not written.whole
    empty = write(tmp_path / "c.csv", "")
    empty.chmod(0o600)
    assert not find(tmp_path, "c.csv")[0].whole, "nobody has written it yet"


async def test_the_next_leader_does_not_begin_anew(tmp_path: Path) -> None:
    async with Setup(tmp_path, "*") as first:
        write(tmp_path / "a")
        await first.come(1)
        await first.looks()
    write(tmp_path / "b")
    async with Setup(tmp_path, "*", server=first.server) as second:
        await second.come(2)
        assert [body["path"] for body in second.bodies()] == [str(tmp_path / "a"), str(tmp_path / "b")]
    async with Setup(tmp_path, "[ab]", server=first.server) as third:
        await third.looks(5)
        assert len(third.arrived()) == 2, "another pattern begins with what comes from now on"


async def test_a_trigger_that_was_away_begins_with_what_comes(tmp_path: Path) -> None:
    async with Setup(tmp_path, "*") as first:
        write(tmp_path / "a")
        await first.come(1)
        first.refusals.add("shop.files", "b", "", "wrong")
        await first.refusals.flush()
    transport = first.transport
    await config(transport, Settings(partitions=1))
    leftovers = Leftovers(transport, Settings(), first.refusals)
    trigger = Triggered(
        "shop.files", "shop", "shop", "", TriggerDef(name="files", source=first.source), (), False, False, 0
    )
    await leftovers.clear({"0": {trigger.id: trigger}}, [("0", trigger)])
    assert len(await transport.entries("files")) == SHARDS
    trigger.gone_ms = 1
    await leftovers.clear({"0": {trigger.id: trigger}}, [("0", trigger)])
    assert [entry.key for entry in await transport.entries("files")] == ["files.shop.files.0.gone"]
    assert await transport.entries("refused") == []
    write(tmp_path / "while it was away")
    await asyncio.sleep(0.02)
    async with Setup(tmp_path, "*", server=first.server) as second:
        await second.looks(5)
        write(tmp_path / "back")
        await second.come(2)
        assert second.bodies()[1]["path"] == str(tmp_path / "back")
    trigger.gone_ms = 0
    await leftovers.clear({"0": {trigger.id: trigger}}, [("0", trigger)])
    assert len(await transport.entries("files")) == SHARDS
    await leftovers.clear({"0": {}}, [])
    assert await transport.entries("files") == [], "it is forgotten"


async def test_what_the_trigger_does_not_take_is_refused(tmp_path: Path) -> None:
    async with Setup(tmp_path, "*", FILE) as setup:
        write(tmp_path / "a")
        refused = await setup.refused(lambda found: found.count > 0)
        assert (refused.count, refused.last[0].what) == (1, str(tmp_path / "a"))
        assert "expected string, got dict" in refused.last[0].reason
        assert setup.arrived() == []


async def test_a_problem_is_told_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowrun.ingress.globbing.MOST", 1)
    for name in "abc":
        write(tmp_path / name)
    async with Setup(tmp_path, "*") as setup:
        assert "more than 1 files" in (await setup.refused(lambda found: bool(found.problems))).problems[0]
        monkeypatch.setattr("flowrun.ingress.globbing.MOST", 10)
        await setup.refused(lambda found: not found.problems)
        await setup.come(3)
