"""Canvases that are called here and now, and apps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flowrun.canvas import App, Celery, Signature, chain, current_app, group, shared_task, signature
from flowrun.canvas.errors import MaxRetriesExceededError, TaskError, exception_of, raised_by
from flowrun.messages import Failure
from flowrun.parameters import ArgumentError

from tests.unit.canvas import tutorial as t
from tests.unit.canvas.test_canvas import VALUES


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    t.told.clear()


def listed(value: Any) -> Any:
    """As JSON has it."""
    return [listed(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("canvas", "found"), VALUES)
def test_a_canvas_means_the_same_here(canvas: Callable[[], Signature], found: Any) -> None:
    if "plain(" in repr(canvas()):
        return  # known by name only
    assert listed(canvas().apply().get()) == found


def test_results_have_parents_and_children() -> None:
    result = (t.add.s(2, 2) | t.add.s(4) | t.add.s(8)).apply()
    assert (result.get(), result.parent.get(), result.parent.parent.get()) == (16, 8, 4)
    linked = t.add.s(2, 2)
    linked.link(t.mul.s(16))
    assert [child.get() for child in linked.apply().children] == [64]


def test_failures() -> None:
    result = (t.add.s(1, 1) | t.fail.s() | t.add.s(1)).on_error(t.error_handler.s()).apply()
    assert (result.state, result.failed(), result.ready()) == ("FAILURE", True, True)
    assert isinstance(result.get(propagate=False), ValueError)
    with pytest.raises(ValueError, match="no 2"):
        result.get()
    assert [kind for _, kind, _ in t.told] == ["ValueError"]  # type: ignore[misc, attr-defined]
    members = group(t.odd.s(i) for i in range(4)).apply()
    assert (members.failed(), members.completed_count()) == (True, 2)  # type: ignore[attr-defined]


def test_retries() -> None:
    result = t.never.apply()
    assert isinstance(result.result, KeyError | MaxRetriesExceededError)
    assert len(t.told) == 3
    assert t.skipped.apply().state == "IGNORED"


def test_what_cannot_be_called_here() -> None:
    with pytest.raises(ArgumentError, match="known by name only"):
        signature("shop:mail", (1,)).apply()
    with pytest.raises(ArgumentError, match="is empty"):
        chain().apply()


# ---- apps -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> Iterator[App]:
    found = Celery("mine", broker="redis://localhost")
    assert current_app() is found
    yield found
    found.close()


def test_eager_apps(app: App) -> None:
    app.conf.update(task_always_eager=True, broker_url="redis://elsewhere")

    @app.task
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert twice.delay(4).get() == 8
    assert (twice.s(1) | twice.s()).delay().get() == 4
    assert twice(3) == 6
    assert app.tasks[twice.name] is twice
    assert app.signature(twice.name, (5,)).delay().get() == 10
    assert app.send_task(twice.name, (6,)).get() == 12


def test_routes(app: App) -> None:
    @app.task(name="mail.send")
    def send(x):  # type: ignore[no-untyped-def]
        return x

    @app.task(name="other", queue="own")
    def other(x):  # type: ignore[no-untyped-def]
        return x

    app.config_from_object({"task_routes": {"mail.*": {"queue": "mail"}}, "task_default_queue": "rest"})
    routed = app.routed(send.s(1) | other.s() | t.add.s(1).set(queue="math") | group(t.mul.s(2), send.s()))
    queues = [part.options.get("queue") for part in routed.tasks[:3]]  # type: ignore[attr-defined]
    assert queues == ["mail", "own", "math"]
    assert [part.options["queue"] for part in routed.tasks[3]] == ["rest", "mail"]  # type: ignore[attr-defined]


def test_the_server_is_found_as_everywhere(app: App) -> None:
    assert app.client._url is None
    assert Celery("nats", broker="nats://127.0.0.1:9", set_as_current=False).client._url == "nats://127.0.0.1:9"


def test_a_schedule_is_not_run_and_says_so(app: App) -> None:
    with pytest.warns(UserWarning, match="nothing of it will be submitted"):
        app.conf.update(beat_schedule={"every": {"task": "x", "schedule": 1}})


def test_shared_tasks() -> None:
    @shared_task(name="shared.one")
    def one(x):  # type: ignore[no-untyped-def]
        """Says one."""
        return x

    assert (one.name, one.__doc__, one.__wrapped__(3)) == ("shared.one", "Says one.", 3)
    assert signature("shared.one").task is one


def test_there_is_nothing_to_start(app: App) -> None:
    with pytest.raises(SystemExit, match="flowc node"):
        app.start()


# ---- exceptions -----------------------------------------------------------------------------------------------------


def test_exceptions_of_tasks_elsewhere() -> None:
    assert isinstance(exception_of("ZeroDivisionError", "no"), ZeroDivisionError)
    found = exception_of("ShopClosed", "at night")
    assert (type(found).__name__, str(found), isinstance(found, TaskError)) == ("ShopClosed", "at night", True)
    assert isinstance(exception_of("UnicodeDecodeError", "bad"), TaskError)
    told = raised_by(Failure("ValueError", "no", "  File x\n"))
    assert told.__notes__ == ["  File x"]
    assert type(raised_by(None)).__name__ == "TaskRevokedError"
