"""Keys: read from where they are, told apart by their ids, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowrun.secrets import Key, KeyRing, SecretError, load_keys
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_is_sealed_is_opened_by_the_same_key_about_the_same_thing_only(value: bytes, about: bytes) -> None:
    key, other = Key.new(), Key.new()
    sealed = key.seal(value, about)
    assert key.open(sealed, about) == value
    assert key.open(sealed, about + b"!") is None
    assert other.open(sealed, about) is None


@pytest.mark.parametrize("at", [0, 11, 12, 20, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    key = Key.new()
    sealed = bytearray(key.seal(b"a value", b""))
    sealed[at] ^= 1
    assert key.open(bytes(sealed), b"") is None
    assert key.open(bytes(sealed[:5]), b"") is None


def test_the_same_value_looks_different_each_time() -> None:
    key = Key.new()
    assert key.seal(b"a", b"") != key.seal(b"a", b"")


def test_a_key_is_never_shown() -> None:
    key = Key.new()
    assert key.text not in repr(key)
    assert Key.read(key.text, "here").id == key.id
    assert key.id not in key.text


def test_keys_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    one, two, three = Key.new(), Key.new(), Key.new()
    path = tmp_path / "keys"
    path.write_text(f"# new\n{two.text}\n{three.text}  # old\n")
    assert load_keys("", {}).ids == ()
    assert load_keys("", {"FLOW_KEY": f"{one.text}, {two.text}"}).ids == (one.id, two.id)
    assert load_keys(str(path), {}).ids == (two.id, three.id)
    assert load_keys("elsewhere", {"FLOW_KEY_FILE": str(path)}).first.id == two.id
    assert load_keys(str(path), {"FLOW_KEY": one.text}).ids == (one.id,)


@pytest.mark.parametrize("bad", ["hunter2", "flow1:", "flow1:abc", "flow1:" + "ü" * 44, "flow1:" + "A" * 48])
def test_what_is_no_key_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(SecretError, match="FLOW_KEY holds no key") as caught:
        load_keys("", {"FLOW_KEY": bad})
    assert bad.removeprefix("flow1:") not in str(caught.value) or bad == "flow1:"


def test_a_file_that_cannot_be_read_or_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, why in (("missing", "cannot be read: No such file"), ("empty", "holds no key"), ("bytes", "is no text")):
        with pytest.raises(SecretError, match=why):
            load_keys("", {"FLOW_KEY_FILE": str(tmp_path / name)})


@pytest.mark.parametrize(
    ("place", "why"), [("vault", "names no secret"), ("cellar:x", "no store `cellar`"), ("vault:x", "not configured")]
)
def test_an_external_store_must_be_known_and_configured(place: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOW_VAULT_PATH", raising=False)
    with pytest.raises(SecretError, match=why):
        load_keys("", {"FLOW_KEY_FROM": place})


def test_who_lacks_a_key_is_told_which_one_is_needed() -> None:
    one, two = Key.new(), Key.new()
    with pytest.raises(SecretError, match=f"the secret `x` is sealed with the key {one.id}.*has the key {two.id}"):
        KeyRing((two,)).need(one.id, "the secret `x` is")
    with pytest.raises(SecretError, match="has none"):
        KeyRing().need(one.id, "the secret `x` is")
    with pytest.raises(SecretError, match="flowc secret key new"):
        _ = KeyRing().first
