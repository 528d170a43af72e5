"""What is hidden: a secret as it is, and as it is often written."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from flowrun.worker.failures import from_exception
from flowrun.worker.logs import LogWriter
from flowrun.worker.mask import Mask, process_mask
from hypothesis import given
from hypothesis import strategies as st

VALUE = 'p&ss wörd/"\\+x'


def mask(*values: str) -> Mask:
    found = Mask({})
    found.learn(values)
    return found


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        quote(VALUE, safe=""),
        quote_plus(VALUE),
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        repr(VALUE),
        VALUE.encode().hex(),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        VALUE[:6] + "\n" + VALUE[6:],
        "\r\n".join(VALUE),
    ],
)
def test_a_value_is_hidden_however_it_is_written(written: str) -> None:
    shown = mask(VALUE)(f"before {written} after")
    assert "***" in shown
    assert written not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@given(st.binary(max_size=5), st.text(st.characters(codec="ascii"), min_size=8, max_size=30), st.binary(max_size=5))
def test_a_value_inside_of_base64_is_hidden(before: bytes, value: str, after: bytes) -> None:
    whole = base64.b64encode(before + value.encode() + after).decode()
    shown = mask(value)(whole)
    assert "***" in shown
    assert len(shown) - 3 <= 4 + (len(before) + len(after)) * 2 + 4


def test_each_line_of_a_long_secret_is_hidden() -> None:
    hide = mask("-----BEGIN KEY-----\nMIIEvQIBADANBg\nshort\n-----END KEY-----\n")
    assert hide("MIIEvQIBADANBg") == "***"
    assert hide("short") == "short"


def test_short_values_are_not_hidden_and_long_ones_first() -> None:
    assert mask("abc")("abc") == "abc"
    assert mask("hunter", "hunter2-value")("hunter2-value hunter") == "*** ***"


def test_variables_of_secrets_are_known_from_the_start() -> None:
    assert Mask({"FLOW_SECRET_A": "value-a", "OTHER": "value-b"})("value-a value-b") == "*** value-b"


def test_without_secrets_nothing_changes() -> None:
    assert mask()("a\nb") == "a\nb"
    assert mask().unfinished("a\nb") == 0


@given(st.text("ab\n", max_size=12), st.integers(0, 8))
def test_what_may_be_the_beginning_is_the_longest_end(before: str, cut: int) -> None:
    value = "abbabaab"
    text = before + value[:cut]
    found = mask(value).unfinished(text)
    whole = text.replace("\n", "")
    assert len(text[len(text) - found :].replace("\n", "")) == max(
        n for n in range(len(value)) if whole.endswith(value[:n])
    )


def writer(*values: str) -> tuple[LogWriter, list[str]]:
    got: list[str] = []
    return LogWriter(1, mask(*values), lambda _, text: got.append(text)), got


def test_a_value_that_is_cut_into_lines_is_hidden_by_the_writer() -> None:
    out, got = writer("hunter2-value")
    for line in ("say hunter2", "-value", "and go on", "hunt"):
        print(line, file=out)
    out.end_attempt()
    assert "".join(got) == "say ***\nand go on\nhunt\n"


def test_a_line_that_only_looks_like_it_is_shown() -> None:
    out, got = writer("hunter2-value")
    print("the hunter", file=out)
    assert "".join(got) == "the "
    print("of rabbits", file=out)
    assert "".join(got) == "the hunter\nof rabbits\n"


def test_a_long_message_is_hidden_before_it_is_cut() -> None:
    value = "never-shown-" * 8
    process_mask().learn([value])
    for before in range(900, 1100, 20):
        message = from_exception(ValueError("x" * before + value + "y" * 3000)).message
        assert "never-shown" not in message
