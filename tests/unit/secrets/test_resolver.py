"""The chain of sources: the first one that has a secret gives it; values are fresh, and failures say what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from flowrun.errors import TransportError
from flowrun.memory import MemoryServer, MemoryTransport
from flowrun.secrets import Key, KeyRing, Resolver, SealedStore, SecretError, SecretMissing
from flowrun.secrets.resolver import FRESH, STALE
from flowrun.secrets.sources import Environment, Files

KEY = Key.new()


class Told:
    """A source that says what it is told to."""

    def __init__(self, value: Any = None) -> None:
        self.value, self.asked = value, 0

    async def get(self, key: str) -> str | None:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value  # type: ignore[no-any-return]

    def how(self, key: str) -> str:
        return f"tell me {key}"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def over(tmp_path: Path, **environment: str) -> Resolver:
    """Of a server that has the secret `a`, sealed."""
    transport = MemoryTransport(MemoryServer())
    await SealedStore(transport, KeyRing((KEY,))).set("a", "from the server", "")
    named = {"FLOW_SECRETS_DIR": str(tmp_path), "FLOW_KEY": KEY.text} | environment
    return Resolver.over(transport, environment={name: value for name, value in named.items() if value})


async def test_the_order_is_environment_files_server(tmp_path: Path) -> None:
    assert await (await over(tmp_path)).get("a") == "from the server"
    (tmp_path / "a").write_text("from a file\n")
    assert await (await over(tmp_path)).get("a") == "from a file"
    assert await (await over(tmp_path, FLOW_SECRET_A="from outside")).get("a") == "from outside"


async def test_the_environment_says_which_sources_are_asked(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("from a file")
    resolver = await over(tmp_path, FLOW_SECRET_A="from outside", FLOW_SECRETS="nats,files")
    assert await resolver.get("a") == "from the server"
    with pytest.raises(SecretError, match="names `cellar`, and the sources are env, files, nats, plugins"):
        await over(tmp_path, FLOW_SECRETS="env,cellar")


async def test_a_missing_one_is_told_with_every_way_to_set_it(tmp_path: Path) -> None:
    resolver = await over(tmp_path)
    with pytest.raises(SecretMissing) as caught:
        await resolver.get("api.key")
    for part in ("`api.key`", "FLOW_SECRET_API_KEY", str(tmp_path / "api.key"), "flowc secret set api.key"):
        assert part in str(caught.value)
    assert not await resolver.has("api.key")
    assert await resolver.has("a")


async def test_a_key_that_is_not_here_is_no_reason_to_say_that_there_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=f"sealed with the key {KEY.id}, and this process has none"):
        await (await over(tmp_path, FLOW_KEY="")).get("a")


async def test_a_key_that_comes_later_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(Key.new().text)
    resolver = await over(tmp_path, FLOW_KEY="", FLOW_KEY_FILE=str(path))
    with pytest.raises(SecretError, match=KEY.id):
        await resolver.get("a")
    path.write_text(KEY.text)
    assert await resolver.get("a") == "from the server"


@pytest.mark.parametrize("content", [b"v", b"v\n", b"v\r\n"])
async def test_a_file_s_last_line_end_is_no_part_of_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "x").write_bytes(content)
    assert await Files((tmp_path,)).get("team/x") == "v"


async def test_which_folders_are_looked_into(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / folder).write_text(folder)
    both = Files.of({"FLOW_SECRETS_DIR": f"{tmp_path / 'one'}:{tmp_path / 'two'}", "CREDENTIALS_DIRECTORY": "/x"})
    assert [await both.get(key) for key in ("one", "two", "three")] == ["one", "two", None]
    systemd = Files.of({"CREDENTIALS_DIRECTORY": str(tmp_path / "one")})
    assert [await systemd.get(key) for key in ("one", "two")] == ["one", None]


async def test_files_stay_in_their_folder_and_are_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("v")
    inner = tmp_path / "inner"
    inner.mkdir()
    files = Files((inner,))
    assert await files.get("../x") is None
    assert await files.get("missing") is None
    assert await files.get("a b") is None
    (inner / "bytes").write_bytes(b"\xff")
    with pytest.raises(SecretError, match="no UTF-8 text"):
        await files.get("bytes")
    assert await Files((tmp_path,)).get("inner") is None


async def test_variables_are_named_in_capitals() -> None:
    assert await Environment({"FLOW_SECRET_DB_PASS_WORD": "v"}).get("db.pass-word") == "v"


async def test_a_value_is_remembered_for_a_short_time() -> None:
    source, clock = Told("one"), Clock()
    resolver = Resolver([source], clock)
    assert [await resolver.get("a") for _ in range(3)] == ["one"] * 3
    assert source.asked == 1
    source.value = "two"
    clock.now += FRESH
    assert await resolver.get("a") == "two"
    source.value = "three"
    resolver.forget()
    assert await resolver.get("a") == "three"


async def test_those_who_ask_at_once_ask_once() -> None:
    source = Told("one")
    resolver = Resolver([source])
    assert await asyncio.gather(*(resolver.get("a") for _ in range(10))) == ["one"] * 10
    assert source.asked == 1


async def test_one_who_gives_up_leaves_the_others_their_answer() -> None:
    resolver = Resolver([Told("one")])
    first, second = asyncio.ensure_future(resolver.get("a")), asyncio.ensure_future(resolver.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "one"


@pytest.mark.parametrize("error", [TransportError("away"), SecretError("sealed")])
async def test_the_last_value_stands_in_for_a_source_that_fails(error: Exception) -> None:
    source, clock = Told("one"), Clock()
    resolver = Resolver([source], clock)
    await resolver.get("a")
    source.value = error
    clock.now += FRESH
    assert await resolver.get("a") == "one"
    clock.now += STALE
    with pytest.raises(type(error)):
        await resolver.get("a")


async def test_one_that_is_gone_is_gone() -> None:
    source, clock = Told("one"), Clock()
    resolver = Resolver([source], clock)
    await resolver.get("a")
    source.value = None
    clock.now += FRESH
    with pytest.raises(SecretMissing, match="tell me a"):
        await resolver.get("a")
    source.value = SecretError("away")
    with pytest.raises(SecretError, match="away"):
        await resolver.get("a")
