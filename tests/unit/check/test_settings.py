"""Settings: the order of the rows, flow.toml, Python."""

from __future__ import annotations

from flowc import ir

from .program import TASKS, checked, flow, named, names

PYTHON = """
from flowrun.operator import task

@task(retry={"max": 2, "backoff": "fixed", "first": "5s"}, timeout="2m", pool="api", tags=["py"])
def work(x: int, factor: float = 1.5) -> int: ...

@task(timout="5m", priority=11)
def wrong(x: int) -> int: ...
"""


def settings(step: ir.Step) -> dict[str, object]:
    assert isinstance(step, ir.CallStep)
    return step.settings.model_dump(exclude_defaults=True)


def test_a_later_row_wins() -> None:
    text = """
    pool api { slots: 4 }
    task t(x: int) returns int { run: shell("echo ${x}"), priority: 3, timeout: 3m }
    flow main {
      defaults: { timeout: 2m, priority: 2, retry: 2, tags: ["flow"] }
      queue: default
      a = t(1)
      b = t(2) with { priority: 9 }
      c = [t(3), t(4) with { pool: api }] with { priority: 8, slots: 2 }
    }
    """
    program, findings = checked(text, toml='[defaults]\ntimeout = "1m"\nenv = { LANG = "C" }\n')
    assert not findings.has_errors
    steps = named(program.flows["main.flow:main"])
    common = {"timeout_ms": 180_000, "retry": {"max": 2}, "tags": ("flow",), "env": (("LANG", "C"),)}
    assert settings(steps["a"]) == {**common, "priority": 3}
    assert settings(steps["b"]) == {**common, "priority": 9}
    assert settings(steps["t"]) == {**common, "priority": 8, "slots": 2}
    assert settings(steps["t#2"]) == {**common, "priority": 8, "slots": 2, "pool": "api"}


def test_a_queue_gives_its_steps_a_priority_unless_they_say_one() -> None:
    queues = "queue fast { priority: 8 }\nqueue plain { }\n"
    body = (
        "a = number(1) with { queue: fast }\n"
        "b = number(1) with { queue: fast, priority: 1 }\n"
        "c = number(2) with { queue: plain }"
    )
    steps = named(flow(body, tasks=queues + TASKS))
    assert [settings(steps[name]).get("priority") for name in "abc"] == [8, 1, None]


def test_retry_forms() -> None:
    found = flow(
        "a = number(1) with { retry: 3 }\n"
        "b = number(1) with { retry: { max: 1, backoff: fixed(10s) } }\n"
        'c = number(1) with { retry: { max: 2, backoff: exponential(30s, factor: 3, cap: 5m, jitter: 0.5), only: ["E"],'
        ' except: ["F"] } }'
    )
    steps = named(found)
    assert settings(steps["a"]) == {"retry": {"max": 3}}
    assert settings(steps["b"]) == {"retry": {"max": 1, "backoff": "fixed", "first_ms": 10_000}}
    assert settings(steps["c"])["retry"] == {
        "max": 2, "first_ms": 30_000, "factor": 3.0, "cap_ms": 300_000, "jitter": 0.5, "only": ("E",), "never": ("F",),
    }  # fmt: skip


def test_python_settings_defaults_and_result() -> None:
    text = (
        'use "tasks.py" { work }\npool api { slots: 2 }\n'
        "flow main returns int { return work(2) with { timeout: 9s } }\n"
    )
    program, findings = checked(text, tasks_py=PYTHON)
    assert findings.sorted() == []
    (step,) = program.flows["main.flow:main"].body.steps
    assert step.args == {"x": ["lit", 2]}  # the function's own default applies
    assert settings(step) == {
        "pool": "api", "retry": {"max": 2, "backoff": "fixed", "first_ms": 5_000}, "tags": ("py",), "timeout_ms": 9_000,
    }  # fmt: skip
    task = program.tasks["tasks.py:work"]
    assert (task.target, task.returns) == ("tasks.py:work", "int")
    assert [(param.name, param.type, param.optional) for param in task.params] == [
        ("x", "int", False),
        ("factor", "float", True),
    ]


def test_wrong_python_settings_stand_at_the_import() -> None:
    _, findings = checked('use "tasks.py" { wrong }\nflow main { wrong(1) }\n', tasks_py=PYTHON)
    assert [(found.name, found.span.start) for found in findings.sorted()] == [
        ("unknown-setting", 17),
        ("invalid-setting", 17),
    ]


def test_wrong_defaults_stand_in_the_project_file() -> None:
    _, findings = checked(TASKS + "flow main { number(1) }\n", toml='[defaults]\ntimeout = 5\nqueu = "a"\n')
    assert [(found.name, found.span.file) for found in findings.sorted()] == [
        ("invalid-setting", "flow.toml"),
        ("unknown-setting", "flow.toml"),
    ]


def test_a_declaration_adds_to_the_settings_of_its_function() -> None:
    text = """
    pool api { slots: 4 }
    task work(x: int) returns int { run: python("tasks:work"), timeout: 1m }
    flow main { work(1) }
    """
    program, findings = checked(text, tasks_py=PYTHON)
    if findings.sorted():  # the roots of Python modules are folders on disk
        assert [found.name for found in findings.sorted()] == ["unknown-python"]
    else:
        (step,) = program.flows["main.flow:main"].body.steps
        assert settings(step)["timeout_ms"] == 60_000
        assert settings(step)["pool"] == "api"


def test_unused_things_are_told_where_nothing_is_wrong() -> None:
    text = (
        TASKS + "pool api { slots: 1 }\nflow main(a: int, b: int) returns int {\n  c = a + 1\n  return number(a)\n}\n"
    )
    assert names(text) == ["unused-resource", "unused-input", "unused-output"]
    assert names(text.replace("number(a)", "nubmer(a)")) == ["unknown-name"]


def test_a_child_run_has_only_the_settings_of_its_call() -> None:
    body = "  defaults: { timeout: 1m, retry: 3 }\n  child()\n  a = child() with { timeout: 2h }\n"
    text = f"{TASKS}flow child {{ number(1) }}\nflow main {{\n{body}}}\n"
    program, findings = checked(text)
    assert findings.sorted() == []
    plain, limited = program.flows["main.flow:main"].body.steps
    assert plain.settings == ir.Settings()
    assert limited.settings == ir.Settings(timeout_ms=7_200_000)
