"""The key that a flow makes of its arguments."""

from __future__ import annotations

import pytest
from flowrun import values
from flowrun.client.options import Options, with_flow_key
from flowrun.parameters import ArgumentError

from tests.unit.engine.written import plan_of

TEXT = """
task load(who: string, n: int) returns int { run: shell("echo ${who} ${n}") }
flow main(who: string, n: int = 3, day: date? = null) returns int {
  idempotency_key: "${who}/${n}"
  return load("${who} ${day ?? run.date}", n)
}
flow plain(who: string) returns int { return load(who, 1) }
"""


def key(flow: str = "main", options: Options | None = None, **args: object) -> str | None:
    return with_flow_key(options, plan_of(TEXT, flow), values.encode(args)).key


def test_it_is_made_of_arguments_and_defaults() -> None:
    assert key(who="ada") == "ada/3"
    assert key(who="ada", n=4) == "ada/4"
    assert key("plain", who="ada") is None


def test_what_the_client_says_comes_first() -> None:
    assert key(options=Options(key="mine"), who="ada") == "mine"
    assert key(options=Options(run="r1"), who="ada") is None


def test_a_key_that_cannot_be_made_is_refused() -> None:
    blob = values.externalise(values.encode("x" * 100_000))[0]
    args = b"\x81" + values.encode("who") + blob
    with pytest.raises(ArgumentError, match="the `idempotency_key` of the flow `main` has no value"):
        with_flow_key(None, plan_of(TEXT), args)
