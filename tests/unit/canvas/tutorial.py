"""Tasks as a Celery tutorial has them; the first line is all that is different."""

from __future__ import annotations

import asyncio

from flowrun import task
from flowrun.canvas import Celery, Extend, Ignore, Replace, Task, group, signature

app = Celery("tutorial", broker="pyamqp://guest@localhost//", backend="rpc://")

#: what error handlers were called with
told: list[object] = []


@app.task
def add(x, y):  # type: ignore[no-untyped-def]
    return x + y


@app.task
def mul(x, y):  # type: ignore[no-untyped-def]
    return x * y


@app.task
def xsum(numbers):  # type: ignore[no-untyped-def]
    return sum(numbers)


@app.task
def tsum(*args):  # type: ignore[no-untyped-def]
    return sum(args[0]) if len(args) == 1 else sum(args)


@app.task
def fail(x=None):  # type: ignore[no-untyped-def]
    raise ValueError(f"no {x}")


@app.task
def error_handler(request, exc, traceback):  # type: ignore[no-untyped-def]
    told.append((request.id.split("/", 1)[1], type(exc).__name__, str(exc)))


@app.task
def old_handler(task_id):  # type: ignore[no-untyped-def]
    told.append(task_id.split("/", 1)[1])


@app.task
def note(value, tag="note"):  # type: ignore[no-untyped-def]
    told.append((tag, value))
    return value


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def flaky(self, x):  # type: ignore[no-untyped-def]
    if self.request.retries < 2:
        raise self.retry(exc=KeyError("not yet"))
    return x, self.request.retries


@app.task(autoretry_for=(ValueError,), max_retries=1, retry_backoff=0.001, retry_jitter=False)
def auto(kind):  # type: ignore[no-untyped-def]
    told.append(kind)
    raise ValueError("again") if kind == "value" else TypeError("once")


@app.task
async def later(x: int) -> int:
    return x + 1


@app.task
def whole(x: int) -> int:
    return x


@app.task
def text(x: str) -> str:
    return x


@app.task
def skipped():  # type: ignore[no-untyped-def]
    raise Ignore


class Doubled(Task):
    name = "tutorial.doubled"

    def run(self, x):  # type: ignore[no-untyped-def]
        return 2 * x

    def on_success(self, retval, task_id, args, kwargs):  # type: ignore[no-untyped-def]
        told.append(("on_success", retval))


doubled = app.register_task(Doubled())


def plain(x: int, y: int = 1) -> int:
    return x - y


@app.task
def deep(n):  # type: ignore[no-untyped-def]
    return Replace(deep.s(n - 1) | add.s(1)) if n else 0


@app.task(bind=True)
def bound_deep(self, n):  # type: ignore[no-untyped-def]
    if n == 0:
        return 1
    raise self.replace(group(bound_deep.s(n - 1) for _ in range(2)) | xsum.s())


@app.task
def endless(n):  # type: ignore[no-untyped-def]
    return Replace(endless.s(n + 1))


@app.task
def cyclic():  # type: ignore[no-untyped-def]
    found = group([add.s(1, 1)])
    found.tasks = (found,)
    return Replace(found)


@app.task
def unknown():  # type: ignore[no-untyped-def]
    return Replace(signature("nowhere:at_all", (1,)) | add.s(1))


@app.task
def misfit():  # type: ignore[no-untyped-def]
    return Replace(add.s(1, 2, 3))


@app.task
def wrong_type() -> int:
    return Replace(note.si("text"))  # type: ignore[return-value]


@app.task
def extending(x):  # type: ignore[no-untyped-def]
    return Extend(x, [add.s(x, i) for i in range(x)])


@app.task(bind=True)
def chording(self, x):  # type: ignore[no-untyped-def]
    self.add_to_chord(add.s(x, 10))
    return x


@app.task
def failing_replace(x):  # type: ignore[no-untyped-def]
    return Replace(fail.s(x) | add.s(1))


@app.task
def not_a_canvas():  # type: ignore[no-untyped-def]
    return Replace(3)


@app.task
async def slow(x):  # type: ignore[no-untyped-def]
    await asyncio.sleep(1.0)
    return Replace(pausing.s(x) | add.s(1))


@app.task
async def pausing(x):  # type: ignore[no-untyped-def]
    await asyncio.sleep(1.0)
    return x


@app.task
def odd(x):  # type: ignore[no-untyped-def]
    if x % 2 == 0:
        raise ValueError(f"even: {x}")
    return x


@app.task
def tagged_handler(request, exc, traceback, tag, more=1):  # type: ignore[no-untyped-def]
    told.append((request.task, tag, more))


def plain_handler(request, exc, traceback):  # type: ignore[no-untyped-def]
    told.append(("plain", type(exc).__name__))


@app.task(bind=True, max_retries=2, default_retry_delay=0.01)
def never(self):  # type: ignore[no-untyped-def]
    told.append(1)
    try:
        raise KeyError("never")
    except KeyError as error:
        raise self.retry(exc=error) from None


class Hooked(Task):
    def before_start(self, task_id, args, kwargs):  # type: ignore[no-untyped-def]
        told.append("before_start")

    def on_retry(self, exc, task_id, args, kwargs, einfo):  # type: ignore[no-untyped-def]
        told.append(("on_retry", str(exc)))

    def on_failure(self, exc, task_id, args, kwargs, einfo):  # type: ignore[no-untyped-def]
        told.append(("on_failure", str(exc)))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):  # type: ignore[no-untyped-def]
        told.append(status)


@app.task(base=Hooked, autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0.01)
def hooked(x):  # type: ignore[no-untyped-def]
    raise ValueError("no")


@app.task(bind=True)
def facts(self, given=None, y=0):  # type: ignore[no-untyped-def]
    request = self.request
    return {
        "id": request.id, "root": request.root_id, "retries": request.retries, "task": request.task,
        "args": len(request.args) + len(request.kwargs),
    }  # fmt: skip


@task(retry=2, timeout="1m")
def marked(x: int) -> int:
    return x + 1
