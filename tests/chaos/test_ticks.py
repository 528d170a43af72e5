"""The checker of chaos at ticks finds what is wrong; and some seconds of it, with real processes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from flowrun.messages import RunRecord, Scheduled

from tests.chaos.ticks import Found, as_text, judged, run_ticks, windows

BEGIN = 1_790_000_000_000


def good() -> Found:
    """All is as it must be: ten seconds."""
    found = Found(seed=1, seconds=10, windows=list(windows(BEGIN, BEGIN + 10_000)))
    for window in found.windows:
        scheduled = Scheduled(window.at_ms, window.at_ms, window.at_ms, "2026-01-01", window.trigger)
        flow = window.trigger.partition(".")[0]
        found.records[window.run] = RunRecord(
            window.run, flow, "success", b"\xc0", None, None, window.at_ms, window.at_ms, (), scheduled=scheduled
        )
        found.calls[window.run].add("")
        if flow == "chained":
            found.calls[f"behind {window.run}"].add(window.run)
    return found


def test_nothing_is_wrong() -> None:
    found = good()
    assert judged(found) == []
    assert len(found.windows) > 60
    assert "no tick was lost, none doubled" in as_text(found, [])


def test_a_lost_tick() -> None:
    found = good()
    del found.records[found.windows[5].run]
    assert [text.partition(":")[0] for text in judged(found)] == ["lost"]
    found = good()
    del found.calls[found.windows[5].run]
    assert [text.partition(":")[0] for text in judged(found)] == ["lost"]


def test_a_doubled_tick() -> None:
    found = good()
    found.calls["another"].add("")
    assert [text.partition(":")[0] for text in judged(found)] == ["doubled"]


def test_a_run_that_was_not_followed_or_twice() -> None:
    found = good()
    behind = next(run for run in found.calls if run.startswith("behind"))
    cause = found.calls.pop(behind)
    assert [text.partition(":")[0] for text in judged(found)] == ["after"]
    found.calls[behind] = cause
    found.calls["again"] = cause
    assert [text.partition(":")[0] for text in judged(found)] == ["after"]
    found.calls["again"] = {"nowhere"}
    assert [text.partition(":")[0] for text in judged(found)] == ["after"]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_short_chaos_at_ticks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "flow")
    found = await run_ticks(3, 12, 20, tmp_path, told=lambda _: None)
    wrong = judged(found)
    assert not wrong, as_text(found, wrong)
    assert len(found.troubles) >= 3
