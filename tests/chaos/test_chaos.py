"""Some seconds of chaos with real processes: every promise holds. `python -m tests.chaos` does it for longer."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.report import as_json, as_text
from tests.chaos.world import Wish, run_chaos


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_short_chaos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "flow")
    wish = Wish(seed=11, seconds=18, tasks=450, kills=8, partitions=4, programs=4, told=lambda _: None)
    history = await run_chaos(wish, tmp_path)
    found = check(history)
    report = as_json(history, found)
    assert not found.violations, as_text(report)
    assert report["kills"] >= 6
    assert report["tasks"] >= 450
    assert sum(report["runs"].values()) >= report["acknowledged"] > 100
    assert {"kill worker", "kill leader", "kill server", "kill executor"} <= report["troubles"].keys()
