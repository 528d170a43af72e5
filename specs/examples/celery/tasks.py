"""The tasks of a Celery project, as they were: only the first import is another one.

The broker and the backend that it names are left alone: the server is found as everywhere (FLOW_NATS_URL, else
nats://127.0.0.1:4222). Workers are nodes: `flowc node` in this folder, on as many machines as you like.
"""

from flowrun.canvas import Celery, group

app = Celery("tasks", broker="pyamqp://guest@localhost//", backend="rpc://")


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def xsum(numbers):
    return sum(numbers)


@app.task
def tsum(*args):
    return sum(args[0]) if len(args) == 1 else sum(args)


@app.task
def divide(x, y):
    return x / y


@app.task
def error_handler(request, exc, traceback):
    """Called once for each call that failed."""
    print(f"task {request.id} raised {exc!r}")
    return [request.task, type(exc).__name__]


@app.task(bind=True, max_retries=5, default_retry_delay=0)
def fetch(self, url):
    """A task that knows its attempts: the first two find the server away."""
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError(f"{url} does not answer"), countdown=0.01)
    return {"url": url, "retries": self.request.retries}


@app.task
def cascade(n):
    """A task that submits others, and does not wait for them."""
    return [add.delay(i, i).id for i in range(n)]


@app.task(bind=True)
def total(self, n):
    """Work that finds out what is to be done: it is replaced by a canvas."""
    raise self.replace(group(add.s(i, i) for i in range(n)) | xsum.s())
