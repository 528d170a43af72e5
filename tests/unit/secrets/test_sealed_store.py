"""Secrets on the server: sealed, refused with the wrong key, and never half-done."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.secrets import Key, KeyRing, SealedStore, SecretError
from flowrun.transport import Entry

OLD, NEW = Key.new(), Key.new()


def stores(*keys: Key, server: MemoryServer | None = None) -> SealedStore:
    return SealedStore(MemoryTransport(server or MemoryServer()), KeyRing(keys))


async def entries(server: MemoryServer) -> list[Entry]:
    return await MemoryTransport(server).entries("secret")


async def test_a_secret_is_set_replaced_listed_and_removed() -> None:
    store = stores(OLD)
    await store.set("db.password", "one", "ada")
    assert await store.get("db.password") == "one"
    await store.set("db.password", "two", "bob", is_new=False)
    assert await store.get("db.password") == "two"
    (info,) = await store.all()
    assert (info.name, info.by, info.key, info.readable) == ("db.password", "bob", OLD.id, True)
    assert await store.remove("db.password")
    assert not await store.remove("db.password")
    assert await store.get("db.password") is None
    assert await store.all() == []


async def test_the_value_is_nowhere_on_the_server() -> None:
    server = MemoryServer()
    await stores(OLD, server=server).set("a", "hunter2-value", "ada")
    (entry,) = await entries(server)
    assert b"hunter2" not in entry.data
    assert b"ada" in entry.data


@pytest.mark.parametrize("name", ["", "a b", "..", "a..b", "../x", "a/", "x" * 201, "ä", ".", "a.*"])
async def test_a_name_that_no_store_could_take_is_refused(name: str) -> None:
    with pytest.raises(SecretError, match="is no name of a secret"):
        await stores(OLD).set(name, "v", "")


async def test_what_is_no_value_is_refused() -> None:
    store = stores(OLD)
    with pytest.raises(SecretError, match="would be empty"):
        await store.set("a", "", "")
    with pytest.raises(SecretError, match="at most 65,536"):
        await store.set("a", "x" * 70_000, "")
    with pytest.raises(SecretError, match="there is no secret `a`"):
        await store.set("a", "v", "", is_new=False)
    await store.set("a", "v", "")
    with pytest.raises(SecretError, match="already"):
        await store.set("a", "v", "", is_new=True)


async def test_with_another_key_nothing_is_read_and_nothing_is_written() -> None:
    server = MemoryServer()
    await stores(OLD, server=server).set("a", "value", "")
    before = await entries(server)
    wrong = stores(NEW, server=server)
    with pytest.raises(SecretError, match=f"sealed with the key {OLD.id}, and this process has the key {NEW.id}"):
        await wrong.get("a")
    with pytest.raises(SecretError, match=OLD.id):
        await wrong.set("b", "other", "")
    with pytest.raises(SecretError, match=OLD.id):
        await wrong.rotate_key()
    with pytest.raises(SecretError, match="no key to seal"):
        await stores(server=server).set("b", "other", "")
    assert await entries(server) == before
    (info,) = await wrong.all()
    assert not info.readable


async def test_a_lost_key_is_got_over_by_removing_what_it_sealed() -> None:
    server = MemoryServer()
    await stores(OLD, server=server).set("a", "value", "")
    store = stores(NEW, server=server)
    assert await store.remove("a")
    await store.set("a", "again", "")
    assert await store.get("a") == "again"


async def test_the_key_is_replaced() -> None:
    server = MemoryServer()
    old, both, new = stores(OLD, server=server), stores(NEW, OLD, server=server), stores(NEW, server=server)
    for name in "abc":
        await old.set(name, f"value {name}", "ada")
    assert await both.rotate_key() == 3
    assert await both.rotate_key() == 0
    assert [await new.get(name) for name in "abc"] == ["value a", "value b", "value c"]
    assert {(info.key, info.by) for info in await new.all()} == {(NEW.id, "ada")}
    with pytest.raises(SecretError, match=NEW.id):
        await old.get("a")


async def test_a_replacement_of_the_key_that_one_entry_forbids_changes_nothing() -> None:
    server, third = MemoryServer(), Key.new()
    await stores(OLD, server=server).set("a", "value", "")
    await stores(OLD, third, server=server).set("b", "value", "")
    await stores(third, OLD, server=server).set("c", "value", "")
    before = await entries(server)
    with pytest.raises(SecretError, match=third.id):
        await stores(NEW, OLD, server=server).rotate_key()
    assert await entries(server) == before


async def test_what_was_changed_or_moved_on_the_server_is_not_believed() -> None:
    server = MemoryServer()
    store, transport = stores(OLD, server=server), MemoryTransport(server)
    await store.set("a", "value", "")
    (entry,) = await entries(server)
    await transport.write_entry("secret.b", entry.data)
    with pytest.raises(SecretError, match="was changed on the server"):
        await store.get("b")
    await transport.write_entry("secret.c", b"\x01")
    with pytest.raises(SecretError, match="cannot be read"):
        await store.get("c")
    format, *rest = msgspec.msgpack.decode(entry.data)
    await transport.write_entry("secret.d", msgspec.msgpack.encode([format + 1, *rest]))
    with pytest.raises(SecretError, match="newer version"):
        await store.get("d")


async def test_of_two_who_write_at_once_both_succeed_or_one_is_told() -> None:
    server = MemoryServer()
    await stores(OLD, server=server).set("a", "0", "")
    ends = await asyncio.gather(
        *(stores(OLD, server=server).set("a", str(i), "") for i in range(5)), return_exceptions=True
    )
    told = [str(end) for end in ends if end is not None]
    assert all("by somebody else at the same time" in one for one in told)
    assert len(told) < 5
    value = await stores(OLD, server=server).get("a")
    assert value is not None
    assert ends[int(value)] is None
