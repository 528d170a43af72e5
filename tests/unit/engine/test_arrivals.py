"""What starts runs apart from times: events, ends of flows, updates of datasets."""

from __future__ import annotations

import msgspec
import pytest
from flowc import plan as p
from flowc.plan import AllSource, DatasetSource, EventSource, FlowSource, StepSettings, TriggerDef
from flowc.types import DATETIME, INT, Record
from flowrun import messages as m
from flowrun import values, wire
from flowrun.sources import leaves, path_to, subject_matches

from tests.unit.engine.builders import block, each, flow, param, task, value
from tests.unit.engine.shop import MINUTE, Shop, flow_of

ORDER = Record((("id", INT), ("amount", INT)))
BODY = ["attr", ["in", 0], "body"]
AMOUNT = ["attr", BODY, "amount"]


def on(source: p.TriggerSource, **more: object) -> TriggerDef:
    return TriggerDef(name="t", source=source, **more)  # type: ignore[arg-type]


def takes_order() -> p.Plan:
    return flow(task("work", 1), params=(param("order"),))


def shop_of(source: p.TriggerSource, **more: object) -> Shop:
    shop = Shop()
    trigger = on(source, args=(("order", BODY),), **more)
    shop.deploy(flow_of("f", trigger, plan=takes_order(), types=(ORDER,)))
    return shop


def order(id: int = 1, amount: int = 20) -> dict[str, int]:
    return {"id": id, "amount": amount}


def test_an_event_starts_a_run_with_its_body() -> None:
    shop = shop_of(EventSource(subject="s", body=0))
    told = shop.arrive("f.t", "e1", order())
    assert told["what"] == "started"
    assert told["run"] == shop.ready[0].run
    assert values.decode_plain(shop.ready[0].inputs[0], lambda digest: b"") == order()
    run = shop.engine.peek(told["run"])
    assert run is not None
    assert (run.trigger, run.scheduled) == ("f.t", None)


def test_the_same_event_again_is_the_same_run() -> None:
    shop = shop_of(EventSource(subject="s", body=0))
    first = shop.arrive("f.t", "e1", order())
    shop.restored()
    assert shop.arrive("f.t", "e1", order()) == {"run": first["run"], "what": "repeated"}
    shop.finish()
    shop.engine.forget(first["run"])
    shop.now += 3_600_000
    shop.restored()
    shop.arrive("f.t", "e1", order())
    assert len(shop.started) == 1


def test_a_filter_leaves_events_out() -> None:
    shop = shop_of(EventSource(subject="s", body=0, filter=["op", ">", AMOUNT, ["lit", 10]]))
    assert shop.arrive("f.t", "e1", order(amount=10))["what"] == "filtered"
    assert shop.arrive("f.t", "e2", order(amount=11))["what"] == "started"


def test_a_key_counts_once_within_its_time() -> None:
    shop = shop_of(EventSource(subject="s", body=0, key=["attr", BODY, "id"], dedupe_ms=MINUTE))
    first = shop.arrive("f.t", "e1", order(7))
    assert shop.arrive("f.t", "e2", order(8))["what"] == "started"
    shop.restored()
    shop.now += MINUTE - 1
    assert shop.arrive("f.t", "e3", order(7)) == {"run": first["run"], "what": "duplicate"}
    shop.now += 1
    assert shop.arrive("f.t", "e4", order(7))["what"] == "started"


def test_without_an_expression_the_key_is_the_one_that_came() -> None:
    shop = shop_of(EventSource(subject="s", body=0, dedupe_ms=MINUTE))
    assert shop.arrive("f.t", "e1", order(), key="k")["what"] == "started"
    assert shop.arrive("f.t", "e2", order(), key="k")["what"] == "duplicate"
    assert shop.arrive("f.t", "e3", order(), key="l")["what"] == "started"


def test_what_does_not_fit_is_refused_where_somebody_waits_and_else_is_a_failed_run() -> None:
    shop = shop_of(EventSource(subject="s", body=0))
    assert shop.arrive("f.t", "e1", {"id": "one"}) == "error"
    assert not shop.answers[0].ok
    assert shop.started == {}
    shop.arrive("f.t", "e1", {"id": "one"}, client="")
    record = shop.engine.record(shop.ended[0])
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.type == "TypeMismatch"
    assert shop.engine.triggers.own["f.t"].refused == 2


def test_a_large_body_is_handed_on_whole_and_not_looked_into() -> None:
    large = wire.reference(wire.Blob("0" * 32, 100_000, 2))
    shop = shop_of(EventSource(subject="s", body=0))
    event = wire.make_record(
        [("subject", b"\xa1s"), ("key", b"\xa0"), ("id", b"\xa0"), ("at", b"\xc0"), ("body", large)]
    )
    shop.post(m.Arrived("f.t", "e1", event))
    assert shop.ready[0].inputs == (large,)
    shop = shop_of(EventSource(subject="s", body=0, filter=["op", ">", AMOUNT, ["lit", 10]]))
    shop.post(m.Arrived("f.t", "e1", event, client="c"))
    assert "too large" in shop.answers[0].message


@pytest.mark.parametrize(
    ("first", "last", "what"), [(None, 0, "filtered"), (MINUTE, None, "filtered"), (0, 0, "started")]
)
def test_nothing_starts_before_the_start_and_after_the_end(first: int | None, last: int | None, what: str) -> None:
    shop = Shop()
    start = None if first is None else shop.now + first
    end = None if last is None else shop.now + last - (first is None)
    shop.deploy(flow_of("f", on(EventSource(subject="s", body=0), start_ms=start, end_ms=end)))
    assert shop.arrive("f.t", "e1")["what"] == what


def test_what_nobody_waits_for_is_refused() -> None:
    shop = Shop()
    assert shop.arrive("f.t", "e1") == "unknown"
    shop.deploy(flow_of("f", on(EventSource(subject="s", body=0))))
    assert shop.arrive("f.t", "e1", place=1) == "unknown"
    shop.post(m.Control("pause", trigger="f.t", id="1"))
    assert shop.arrive("f.t", "e1") == "paused"
    shop.post(m.Control("resume", trigger="f.t", id="2"))
    assert shop.arrive("f.t", "e1")["what"] == "started"


def test_the_last_runs_are_known_with_what_became_of_them() -> None:
    shop = shop_of(EventSource(subject="s", body=0))
    shop.arrive("f.t", "e1", order())
    shop.finish()
    shop.now += 1
    shop.arrive("f.t", "e2", order())
    shop.restored()
    assert [one.state for one in shop.engine.triggers.own["f.t"].recent] == ["running", "success"]


# ---- events that are raised -----------------------------------------------------------------------------------------


def test_what_is_raised_starts_triggers_of_its_subject() -> None:
    shop = Shop()
    one, other = on(EventSource(subject="orders.*", body=0)), on(EventSource(subject="orders.paid", body=0))
    shop.deploy(flow_of("f", one), flow_of("g", other), flow_of("h", on(EventSource(subject="goods.>", body=0))))
    raised = m.Raised("orders.paid", "k", values.encode(1), "e1", "c")
    shop.post(raised)
    shop.restored()
    shop.post(raised)
    assert sorted(work.plan for work in shop.ready) == ["plan of f", "plan of g"]
    shop.post(m.Raised("orders.placed", "k", values.encode(1), "e2"))
    assert len(shop.ready) == 3


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [("a.b", "a.b", True), ("a.*", "a.b", True), ("a.*", "a.b.c", False), ("a.>", "a.b.c", True), ("a.>", "a", False),
     ("*.b", "a.b", True), ("a", "a.b", False), ("a.b", "a", False), (">", "a", True)],
)  # fmt: skip
def test_subjects(pattern: str, subject: str, fits: bool) -> None:
    assert subject_matches(pattern, subject) == fits


# ---- ends of flows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("when", "state", "starts"), [
    ("success", "success", True), ("success", "failed", False), ("failure", "failed", True),
    ("failure", "success", False), ("done", "success", True), ("done", "failed", True),
])  # fmt: skip
def test_the_end_of_a_flow_starts_another(when: str, state: str, starts: bool) -> None:
    shop = Shop()
    after = FlowSource(flow="first", body=0, on=when)  # type: ignore[arg-type]
    shop.deploy(flow_of("first", plan=flow(task("work"), result=1)), flow_of("f", on(after)))
    shop.post(m.Submit("r", "plan of first", b"\x80"))
    shop.finish(state=state, result={"n": 1})
    assert [send.id for send in shop.sends] == (["run/r/f.t/0"] if starts else [])
    shop.restored()
    shop.deliver()
    assert [work.plan for work in shop.ready] == (["plan of f"] if starts else [])


def test_the_event_of_an_end_tells_of_the_run() -> None:
    shop = Shop()
    then = on(FlowSource(flow="first", body=0), args=(("order", BODY),))
    shop.deploy(flow_of("first", plan=flow(task("work"), result=1)), flow_of("f", then, plan=takes_order()))
    shop.post(m.Submit("r", "plan of first", b"\x80"))
    assert "r" in shop.engine.singles
    shop.finish(result=5)
    shop.deliver()
    told = values.decode_plain(shop.ready[0].inputs[0], lambda digest: b"")
    assert told == {"run": "r", "flow": "first", "state": "success", "result": 5}


def test_flows_that_start_each_other_never_keep_a_decision_busy() -> None:
    shop = Shop()
    empty = flow(value(["lit", 1]))
    shop.deploy(
        flow_of("a", on(FlowSource(flow="b", body=0)), plan=empty),
        flow_of("b", on(FlowSource(flow="a", body=0)), plan=empty),
    )
    shop.post(m.Submit("r", "plan of a", b"\x80"))
    for count in range(1, 6):
        assert len(shop.ended) == count
        shop.deliver()


def test_the_end_of_a_run_of_another_partition_comes_as_a_message() -> None:
    shops = [Shop(str(number), 3) for number in range(3)]
    for shop in shops:
        shop.deploy(flow_of("first"), *(flow_of(f"f{i}", on(FlowSource(flow="first", body=0))) for i in range(9)))
    shops[1].post(m.Submit("r", "plan of first", b"\x80"))
    shops[1].finish()
    sends = shops[1].sends
    assert len(sends) == 9
    for send in sends:
        shops[int(send.partition)].post(send.event)
    assert sum(len(shop.ready) for shop in shops) == 9


def test_what_comes_before_its_trigger_is_known_here_waits_for_it() -> None:
    shop = Shop()
    shop.arrive("f.t", "e1", client="")
    shop.arrive("f.t", "e2", client="")
    shop.restored()
    shop.deploy(flow_of("f", on(FlowSource(flow="first", body=0))))
    shop.deliver()
    shop.deliver()
    assert len(shop.started) == 2
    shop.arrive("g.t", "e1", client="")
    shop.now += 700_000
    shop.arrive("h.t", "e1", client="")
    shop.restored()
    shop.deploy(*(flow_of(name, on(FlowSource(flow="first", body=0))) for name in "fgh"))
    shop.deliver()
    assert len(shop.started) == 3


def test_of_a_group_the_body_has_the_type_of_what_came() -> None:
    changed = Record((("modified", DATETIME),))
    group = p.AnySource(sources=(EventSource(subject="s", body=0), p.FileSource(pattern="*", body=1)))
    later = ["op", "+", ["attr", BODY, "modified"], ["duration", 60_000_000]]
    shop = Shop()
    trigger = on(group, args=(("order", later),))
    shop.deploy(flow_of("f", trigger, plan=takes_order(), types=(ORDER, changed)))
    shop.arrive("f.t", "e1", {"modified": "2026-01-01T00:00:00Z"}, place=1)
    assert values.decode_plain(shop.ready[0].inputs[0], lambda digest: b"") == "2026-01-01T00:01:00Z"


# ---- datasets -------------------------------------------------------------------------------------------------------


def test_a_step_that_updates_a_dataset_starts_who_waits_for_it() -> None:
    shop = Shop()
    writer = flow(
        task("write", settings=1), task("more", 1), settings=(StepSettings(), StepSettings(updates=("d", "e")))
    )
    shop.deploy(
        flow_of("w", plan=writer),
        flow_of("f", on(DatasetSource(name="d", body=0), args=(("order", BODY),)), plan=takes_order()),
    )
    shop.post(m.Submit("r", "plan of w", b"\x80"))
    shop.finish()
    assert [send.event.trigger for send in shop.sends] == ["f.t"]  # type: ignore[union-attr]
    shop.deliver()
    started = next(work for work in shop.ready if work.plan == "plan of f")
    told = values.decode_plain(started.inputs[0], lambda digest: b"")
    assert told == {"dataset": "d", "run": "r", "flow": "w", "step": "write"}


def test_a_step_that_fails_updates_nothing_and_a_flow_of_one_step_does() -> None:
    writer = flow(task("write"), settings=(StepSettings(updates=("d",)),), result=1)
    shop = Shop()
    shop.deploy(flow_of("w", plan=writer), flow_of("f", on(DatasetSource(name="d", body=0))))
    shop.post(m.Submit("r1", "plan of w", b"\x80"))
    shop.finish(state="failed")
    assert shop.sends == []
    shop.post(m.Submit("r2", "plan of w", b"\x80"))
    shop.finish()
    assert len(shop.sends) == 1


def test_an_each_updates_as_a_whole() -> None:
    inner = msgspec.structs.replace(task("write", 0), settings=1)
    plan = flow(
        each(1, ["call", "range", ["lit", 3]], simple=True), blocks=(block(inner, params=1),),
        settings=(StepSettings(), StepSettings(updates=("d",))),
    )  # fmt: skip
    shop = Shop()
    shop.deploy(flow_of("w", plan=plan), flow_of("f", on(DatasetSource(name="d", body=0))))
    shop.post(m.Submit("r", "plan of w", b"\x80"))
    work = shop.ready[0]
    for first in range(3):
        assert shop.sends == []
        head = (work.run, work.scope, work.node, work.attempt, "success", b"\xc0", None, 0, b"\0" * 4, first, first + 1)
        shop.post(m.Results("b", "w", (m.Outcome(*head),)))  # type: ignore[arg-type]
    assert len(shop.sends) == 1


def test_all_of_several_datasets_waits_for_each() -> None:
    shop = Shop()
    both = AllSource(sources=(DatasetSource(name="d", body=0), DatasetSource(name="e", body=0)))
    shop.deploy(flow_of("f", on(both)))
    assert shop.arrive("f.t", "1", place=0)["what"] == "waiting"
    assert shop.arrive("f.t", "2", place=0)["what"] == "waiting"
    shop.replayed()
    assert shop.arrive("f.t", "3", place=1)["what"] == "started"
    assert shop.arrive("f.t", "4", place=1)["what"] == "waiting"


# ---- places ---------------------------------------------------------------------------------------------------------


def test_leaves_and_what_stands_above_them() -> None:
    a, b, c = (EventSource(subject=name, body=0) for name in "abc")
    source = AllSource(sources=(p.AnySource(sources=(a, b)), c))
    assert leaves(source) == (a, b, c)
    assert [step[1:] for step in path_to(source, 1)] == [(AllSource, 0, 2), (p.AnySource, 1, 2)]
    assert [step[1:] for step in path_to(source, 2)] == [(AllSource, 1, 2)]
    assert path_to(source, 3) == ()
    assert path_to(a, 0) == ()
