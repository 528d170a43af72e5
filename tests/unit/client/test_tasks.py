"""A function as a plan of one task: one for all calls of a shape, with the types that its annotations say."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import msgspec
import pytest
from flowc import plan as plans
from flowc.plan import Plan, TaskNode
from flowc.types import DATE, DURATION, FLOAT, INT, JSON, STRING, ListOf, Literals, MapOf, Optional
from flowrun import values
from flowrun.client.annotations import is_plain, type_of
from flowrun.client.task_settings import milliseconds, read_settings
from flowrun.client.tasks import Shape, spec_of
from flowrun.parameters import ArgumentError

from . import functions as f


def plan_of(task: Any, *args: Any, **kwargs: Any) -> Plan:
    shape, _ = spec_of(task, {}).call(args, kwargs)
    return plans.decode(shape.data)


def encoded(task: Any, *args: Any, **kwargs: Any) -> Any:
    shape, given = spec_of(task, {}).call(args, kwargs)
    data, blobs = shape.encode(given)
    assert not blobs
    return msgspec.msgpack.decode(data)


def test_calls_of_a_shape_share_a_plan_and_others_do_not() -> None:
    spec = spec_of(f.add, {})

    def shape(*args: Any, **kwargs: Any) -> Shape:
        return spec.call(args, kwargs)[0]

    assert shape(1) is shape(2)
    assert shape(1, 2) is shape(3, b=4)
    assert shape(b=1, a=2) is shape(a=1, b=2)
    assert shape(1).digest != shape(1, 2).digest


def test_the_plan_of_a_function() -> None:
    plan = plan_of(f.add, 1, 2)
    [step] = [node for node in plan.blocks[0].nodes if isinstance(node, TaskNode)]
    assert plan.tasks[step.task].target == f"{f.__name__}:add"
    assert [plan.types[param.type] for param in plan.params] == [INT, INT]
    assert step.args == (("a", ["in", 0]), ("b", ["in", 1]))
    assert plan.blocks[0].result == plan.blocks[0].nodes.index(step)
    assert [plan.blocks[0].nodes[given.node].type for given in step.inputs] == [param.type for param in plan.params]


def test_types_come_from_annotations() -> None:
    day, wait = dt.date(2026, 1, 31), dt.timedelta(hours=1)
    plan = plan_of(f.kinds, "a", 1, day, wait, ["b"], {"c": 1}, f.Order(1, day), "high", None)
    assert [plan.types[param.type] for param in plan.params] == [
        STRING, FLOAT, DATE, DURATION, ListOf(STRING), MapOf(INT), JSON, Literals(("low", "high")), Optional(INT),
    ]  # fmt: skip
    assert plan.tasks[0].returns is None
    assert [plan_of(f.untyped, 1).types[2]] == [JSON]
    assert type_of("not evaluated") == JSON
    assert is_plain(list[int])
    assert not is_plain(dt.date)


def test_arguments_are_encoded_as_their_types() -> None:
    day = dt.date(2026, 1, 31)
    given = encoded(f.kinds, "a", 1, day, dt.timedelta(hours=1), ["b"], {"c": 1}, f.Order(1, day))
    assert given == {
        "text": "a", "number": 1, "day": "2026-01-31", "wait": "PT3600S", "names": ["b"], "more": {"c": 1},
        "order": {"number": 1, "day": "2026-01-31"},
    }  # fmt: skip
    assert encoded(f.add, 1, b=3) == {"a": 1, "b": 3}


def test_a_context_is_no_argument_and_a_class_comes_back() -> None:
    assert encoded(f.with_context, 1) == {"x": 1}
    assert spec_of(f.with_context, {}).returns is f.Order
    assert spec_of(f.add, {}).returns is None


@pytest.mark.parametrize("task", [f.open_ended, "shop.mail:send"])
def test_open_calls_take_anything_with_one_plan(task: Any) -> None:
    assert encoded(task, 1, 2, x=3) == {"*": [1, 2], "**": {"x": 3}}
    assert plan_of(task, 1) == plan_of(task, 2, 3, x=4)


def test_large_arguments_are_stored() -> None:
    shape, given = spec_of(f.untyped, {}).call(("x" * 100_000, 1), {})
    data, [(_, blob)] = shape.encode(given)
    assert len(data) < 200 < len(blob)
    assert values.references([data])
    many = {f"k{i}": "x" * 20_000 for i in range(100)}
    shape, given = spec_of("m:f", {}).call((), many)
    data, blobs = shape.encode(given)
    assert len(data) < 300_000
    assert blobs


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "`add` needs `a`"),
        ((1, 2, 3), {}, "2 arguments by position, not 3"),
        ((1,), {"a": 2}, "`a` twice"),
        ((1,), {"c": 2}, "no parameter `c`: it has `a`, `b`"),
        (("x",), {}, "argument `a` is no int: expected int, got str"),
        ((2**70,), {}, "argument `a`.*64 bits"),
        ((True,), {}, "argument `a` is no int"),
    ],
)
def test_wrong_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        encoded(f.add, *args, **kwargs)


@pytest.mark.parametrize("value", [object(), "\ud800", (x for x in ())])
def test_what_cannot_be_stored_is_told(value: object) -> None:
    with pytest.raises(ArgumentError, match="argument `a`"):
        encoded(f.untyped, value)


@pytest.mark.parametrize(
    "task", [lambda: 1, f.Thing().method, f.Thing, functools.partial(f.add, 1), 5, "send", ":f", "m:"]
)
def test_what_no_worker_could_find(task: Any) -> None:
    with pytest.raises(ArgumentError, match=r"a task is a function"):
        spec_of(task, {})


# ---- settings -------------------------------------------------------------------------------------------------------


def test_settings_of_the_decorator_and_of_the_call() -> None:
    def step(task: Any, **settings: Any) -> plans.StepSettings:
        spec = spec_of(task, settings)
        return plans.decode(spec.call((1,), {})[0].data).settings[0]

    found = step(f.marked)
    assert (found.queue, found.timeout_ms) == ("mail", 300_000)
    assert found.retry == plans.RetryPolicy(max=3, backoff="fixed", first_ms=30_000)
    assert step(f.marked, queue="other", retry=1).queue == "other"
    assert step(f.coroutine).executor == "async"
    assert step(f.coroutine, executor="thread").executor == "thread"


def test_every_setting() -> None:
    found = read_settings(
        {
            "queue": "q", "priority": 7, "retry": {"max": 2, "only": ["OSError"], "except": ["Value"], "jitter": 1},
            "timeout": 30, "soft_timeout": dt.timedelta(seconds=20), "deadline": "1h30m", "delay": 1, "expires": 2,
            "executor": "thread", "memory": "64MiB", "max_tasks_per_process": 10, "env": {"A": "b"}, "tags": ["x"],
            "idempotent": True, "slots": 2, "pool": ("db", 4), "limit": ("api", "100/m"), "concurrency": (1, "x"),
        }
    )  # fmt: skip
    step = found.step
    assert (step.timeout_ms, step.soft_timeout_ms, step.deadline_ms) == (30_000, 20_000, 5_400_000)
    assert (step.memory, step.slots, step.pool, step.limit) == (64 * 2**20, 2, 0, 0)
    assert found.pools == (plans.PoolDef(name="db", slots=4),)
    assert found.limits == (plans.LimitDef(name="api", rate=100, per_ms=60_000, burst=100),)
    assert (found.key, step.concurrency) == ("x", plans.ConcurrencyDef(limit=1))


def test_a_concurrency_key_is_a_parameter() -> None:
    spec = spec_of(f.add, {"concurrency": (1, "b")})
    plan = plans.decode(spec.call((1, 2), {})[0].data)
    assert plan.settings[0].concurrency == plans.ConcurrencyDef(limit=1, key=["in", 1])
    with pytest.raises(ArgumentError, match="needs `b`"):
        spec.call((1,), {})
    with pytest.raises(ArgumentError, match="no parameter `c`"):
        spec_of(f.add, {"concurrency": (1, "c")})


def test_delivery_cache_result_and_keys() -> None:
    given = {"delivery": "at_most_once", "cache": {"key": "b", "ttl": "1h"}, "idempotency_key": "a", "result": "ignore"}
    plan = plans.decode(spec_of(f.add, given).call((1, 2), {})[0].data)
    step = plan.settings[0]
    assert step.at_most_once
    assert step.cache == plans.CacheDef(ttl_ms=3_600_000, key=["in", 1])
    assert step.idempotency_key == ["in", 0]
    assert plan.tasks[0].returns is None
    assert plans.decode(spec_of(f.add, {"cache": 60}).call((1, 2), {})[0].data).settings[0].cache == plans.CacheDef(
        ttl_ms=60_000
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("countdown", 3, "did you mean `delay`"),
        ("max_retries", 3, "did you mean `retry`"),
        ("que", "x", "did you mean `queue`"),
        ("queue", 5, "takes a name"),
        ("priority", 10, "from 0 to 9"),
        ("slots", True, "whole number from 1"),
        ("retry", {"backoff": "fixed"}, "needs `max`"),
        ("retry", {"max": 3, "backof": "fixed"}, "does not take backof='fixed'"),
        ("timeout", "soon", "takes a duration"),
        ("timeout", None, "takes a duration"),
        ("executor", "gevent", "is none of them"),
        ("memory", "much", "takes a size"),
        ("env", {"A": 1}, "dict of strings"),
        ("tags", "x", "list of strings"),
        ("idempotent", 1, "True or False"),
        ("pool", "db", "write pool="),
        ("limit", ("api", "fast"), "write limit="),
        ("concurrency", 0, "write concurrency=1"),
        ("delivery", "once", "at_most_once"),
        ("cache", {"key": "x"}, 'write cache="1d"'),
        ("result", "drop", '"keep" or "ignore"'),
        ("ignore_result", True, "did you mean `result`"),
        ("idempotency_key", 3, "takes a name"),
    ],
)
def test_wrong_settings(name: str, value: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        read_settings({name: value})


def test_durations() -> None:
    assert [milliseconds("x", given) for given in (1.5, "1h30m", dt.timedelta(milliseconds=7), 0)] == [
        1500, 5_400_000, 7, 0,
    ]  # fmt: skip
