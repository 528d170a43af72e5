"""Publishing, and telling how it went."""

import json
import shutil
from pathlib import Path

from flowrun.operator import Context

from tasks.execution_log import recorded


class ServiceUnavailable(Exception):
    """The web host answered 503."""


@recorded
def publish(report: str, out: str, ctx: Context) -> str:
    """Copies the report to the "web host", the folder <out>/site.

    The host stands in for a service that is busy at times, so that the retry of this step can be seen: it refuses the
    first attempt of every run.
    """
    if ctx.attempt == 1:
        raise ServiceUnavailable("503 Service Unavailable: the web host is busy, try again")
    site = Path(out, "site")
    site.mkdir(parents=True, exist_ok=True)
    return str(shutil.copy(report, site / "index.html"))


@recorded
def note_success(summary: dict[str, object], out: str) -> None:
    _status(out, {"state": "success", **summary})


@recorded
def note_failure(step: str, message: str, out: str) -> None:
    _status(out, {"state": "failed", "step": step, "message": message})


def _status(out: str, status: dict[str, object]) -> None:
    """What a monitor would read."""
    Path(out).mkdir(parents=True, exist_ok=True)
    Path(out, "status.json").write_text(json.dumps(status, indent=2) + "\n", encoding="utf-8")
