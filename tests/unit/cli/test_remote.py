"""Where commands find a run: among the environment's, or in the folder where `flowc run` leads it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from flowc.plan import write_file_bytes
from flowcli.errors import InputError
from flowcli.remote import Place, place_of
from flowcli.runs import Run, Runs
from flowcli.server import ServerChoice
from flowrun.server import EmbeddedServer

from .test_runs import PLAN, run_of

HERE = ServerChoice("nats://127.0.0.1:4222", "dev")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOW_NATS_URL", raising=False)
    return Runs(tmp_path)


def add(runs: Runs, **changes: object) -> Run:
    run = msgspec.structs.replace(run_of("r1"), **changes)
    runs.add(run, write_file_bytes(PLAN))
    return run


def lead(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """An own server runs in the folder."""
    monkeypatch.setattr(EmbeddedServer, "running_url", lambda self: url)


def test_a_run_that_is_not_of_this_folder_is_the_environments(runs: Runs) -> None:
    assert place_of("r9", None, None) == ("r9", Place(HERE))
    assert place_of("r9", "nats://x:1", "prod") == ("r9", Place(ServerChoice("nats://x:1", "prod")))
    assert place_of("", None, None) == ("", Place(HERE))


def test_a_run_that_flowc_run_leads_is_on_its_server(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    run = add(runs)
    lead(monkeypatch, "nats://127.0.0.1:5")
    there = Place(ServerChoice("nats://127.0.0.1:5", "dev"), run.partition)
    assert place_of("r1", None, None) == ("r1", there)
    assert place_of("last", None, None) == ("r1", there)
    assert place_of("", None, None) == ("", there)
    assert place_of("", "nats://x:1", None) == ("", Place(ServerChoice("nats://x:1", "dev")))


def test_a_run_that_flowc_run_leads_on_another_server(runs: Runs) -> None:
    run = add(runs, url="nats://x:1", env="prod")
    there = Place(ServerChoice("nats://x:1", "prod"), run.partition)
    assert place_of("r1", None, None) == ("r1", there)
    assert place_of("", None, None) == ("", Place(HERE))  # the environment's runs are meant, not this one


def test_what_cannot_be_found_says_why(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no run was started in this folder yet"):
        place_of("last", None, None)
    add(runs)
    lead(monkeypatch, None)
    with pytest.raises(InputError, match="nothing runs the run `r1` just now") as caught:
        place_of("r1", None, None)
    assert caught.value.help == "`flowc run --resume r1` goes on with it"
    assert place_of("", None, None) == ("", Place(HERE))
    runs.save(msgspec.structs.replace(run_of("r1"), state="success"))
    with pytest.raises(InputError, match=r"the run `r1` has ended \(success\)"):
        place_of("last", None, None)


async def test_the_server_of_a_folder_is_found_while_it_runs(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        assert EmbeddedServer(tmp_path).running_url() == server.url
    assert EmbeddedServer(tmp_path).running_url() is None
