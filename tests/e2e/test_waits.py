"""`flowc signal`, `emit`, `approvals`, `approve`, `reject`: with a node, and with a run that `flowc run` leads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Project
from .test_commands import Environment, running_node, wait_until

FLOWS = """
use std.wait { signal, event }
use std.human { approval }

signal go: { n: int }

flow told() returns int {
  x = signal(go)
  return x.n
}

flow paid(id: string) returns json { return event("orders.paid", key: id) }

flow asked(amount: int) returns string {
  d = approval(group: "finance", title: "Pay ${amount}?", show: { amount: amount })
  return "${d.by}: ${d.note ?? ""}"
}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    yield from running_node(tmp_path_factory.mktemp("environment"), FLOWS, "")


def waits(here: Environment, run: str) -> str:
    """What the only step of a run waits for."""
    found: list[str] = []

    def does() -> bool:
        steps = here.on("ps", run, "--json").checked("answers")["steps"]
        found[:] = [step["message"] for step in steps if step["message"]]
        return bool(found)

    wait_until(does)
    return found[0]


def result(here: Environment, run: str) -> str:
    wait_until(lambda: here.state(run) != "running")
    return here.state(run)


def test_a_signal(here: Environment) -> None:
    run = here.submit("--flow", "told")
    assert waits(here, run) == "waits for the signal `go`"
    wrong = here.on("signal", run, "go", '{"n": "x"}')
    assert wrong.code == 2
    assert wrong.is_one_message()
    assert "the signal `go` brings { n: int }: `go.n`: expected int, got str" in wrong.err
    (here.folder / "value.json").write_text('{"n": 5}')
    sent = here.on("signal", run, "go", "@value.json", "--json")
    assert (sent.code, sent.checked("answers")) == (0, {"run": run, "signal": "go"})
    assert result(here, run) == "success"
    again = here.on("signal", run, "go", '{"n": 5}')
    assert (again.code, again.err) == (2, f"error: run {run} has ended\n")


def test_an_event(here: Environment) -> None:
    runs = [here.submit("--flow", "paid", "-p", f"id={id}") for id in ("7", "8")]
    for run, id in zip(runs, "78", strict=True):
        assert waits(here, run) == f"waits for the event `orders.paid` about `{id}`"
    sent = here.on("emit", "orders.paid", '{"by": "card"}', "--key", "7")
    assert (sent.code, sent.out) == (0, "orders.paid about 7 was told to all that wait for it\n")
    assert result(here, runs[0]) == "success"
    assert here.state(runs[1]) == "running"
    as_json = here.on("emit", "orders.paid", "--key", "8", "--json").checked("answers")
    assert as_json == {"subject": "orders.paid", "key": "8"}
    assert result(here, runs[1]) == "success"


def test_approvals(here: Environment) -> None:
    assert here.on("approvals").out == "nothing waits for an approval\n"
    runs = [here.submit("--flow", "asked", "-p", f"amount={amount}") for amount in (1, 2)]
    for run in runs:
        assert waits(here, run) == "waits for an approval of `finance`"
    listed = here.on("approvals", "--json").checked("answers")["approvals"]
    assert [(one["run"], one["step"], one["group"], one["title"], one["show"]) for one in listed] == [
        (run, "d", "finance", f"Pay {amount}?", {"amount": amount}) for run, amount in zip(runs, (1, 2), strict=True)
    ]
    shown = here.on("approvals", runs[0]).out
    assert "Pay 1?" in shown
    assert "Pay 2?" not in shown
    yes = here.on("approve", runs[0], "--by", "ada", "--note", "fine", "--json")
    assert yes.checked("answers") == {"run": runs[0], "step": "d", "approved": True}
    assert result(here, runs[0]) == "success"
    no = here.on("reject", runs[1], "d", "--by", "bob", "--note", "too much")
    assert (no.code, no.out) == (0, f"step d of run {runs[1]} is rejected\n")
    assert result(here, runs[1]) == "failed"
    assert "Rejected: bob rejected it: too much" in here.on("ps", runs[1]).out
    assert here.on("approve", runs[1]).err == f"error: run {runs[1]} has ended\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["signal", "r0", "go"], "there is no run r0"),
        (["signal", "r0", "go", "{n: 1}"], "the value is no JSON"),
        (["signal", "r0", "go", "@gone.json"], "the value cannot be read"),
        (["signal", "last", "go"], "no run was started in this folder yet"),
        (["emit", ""], "an event has a subject"),
        (["approve", "r0"], "there is no run r0"),
        (["reject", "r0", "x"], "there is no run r0"),
    ],
)
def test_wrong_input_is_one_message(here: Environment, args: list[str], message: str) -> None:
    ended = here.on(*args)
    assert ended.code == 2
    assert ended.is_one_message()
    assert message in ended.err


def test_the_client_for_programs_without_a_loop(here: Environment) -> None:
    run, other = here.submit("--flow", "told"), here.submit("--flow", "asked", "-p", "amount=3")
    waits(here, run), waits(here, other)
    out = here.python(f"""
from flowrun.client import Refused, SyncClient

with SyncClient() as client:
    client.signal("{run}", "go", {{"n": 4}})
    print(client.result("{run}"))
    print([one.title for one in client.approvals()])
    print(client.run("{other}").approve(by="ada"))
    print(client.result("{other}"))
    try:
        client.run("{other}").reject()
    except Refused as error:
        print(error)
    client.emit("nobody.waits")
""")
    assert out.splitlines() == ["4", "['Pay 3?']", "d", "ada: ", f"run {other} has ended"]


def test_a_run_that_flowc_run_leads_is_answered_from_its_folder(tmp_path: Path) -> None:
    project = Project(tmp_path).write(main_flow=FLOWS)
    running = project.start("run", "main.flow", "--flow", "asked", "-p", "amount=9")
    try:
        until = time.monotonic() + 30
        while not (listed := json.loads(project.flowc("approvals", "--json").out or "{}").get("approvals")):
            assert time.monotonic() < until
            time.sleep(0.2)
        run = listed[0]["run"]
        assert "waits for an approval of `finance`" in project.flowc("ps", "last").out
        assert project.flowc("approve", "last", "e").err.startswith(
            f"error: run {run} waits for no approval of a step `e` now: it waits for `d`"
        )
        yes = project.flowc("approve", run, "--by", "ada", "--note", "yes")
        assert (yes.code, yes.out) == (0, f"step d of run {run} is approved\n")
        out, _ = running.communicate(timeout=30)
        assert "d: waits for an approval of `finance`" in out
        assert out.splitlines()[-1] == "ada: yes"
        assert "has ended (success)" in project.flowc("approve", "last").err
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()
