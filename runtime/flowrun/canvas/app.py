"""The app: where tasks are registered, and how programs reach the server. In a worker it is a name and no more.

`Celery("tasks", broker=…, backend=…)` works as it is: a URL that begins with nats:// is the server's, and any other is
left alone, since the server is found as everywhere (FLOW_NATS_URL, else nats://127.0.0.1:4222). A task finds that of
its worker, unless its URL holds a password.
"""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flowrun.where import environment

from .signatures import Call, Signature, chain, group, signature
from .tasks import Task, make_task

if TYPE_CHECKING:
    from flowrun.client import SyncClient

__all__ = ["App", "Conf", "current_app"]


class Conf:
    """Settings of an app, named as Celery names them. Those that mean something here: `task_always_eager`,
    `task_default_queue`, `task_routes`, and `broker_url` if it is one of NATS; others are kept, and change nothing."""

    task_always_eager = False
    #: also for tests that look at what tasks raise
    task_eager_propagates = False
    task_default_queue: str | None = None
    task_routes: Mapping[str, Any] | None = None
    broker_url: str | None = None

    def __init__(self, **given: Any) -> None:
        self.update(**given)

    def update(self, *given: Mapping[str, Any], **named: Any) -> None:
        for table in (*given, named):
            for name, value in table.items():
                if name == "beat_schedule" and value:
                    warnings.warn("`beat_schedule` is not run here: nothing of it will be submitted", stacklevel=2)
                setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return None  # what nobody set


class App:
    """`app = App("tasks")`; then `@app.task`."""

    def __init__(
        self, main: str | None = None, broker: str | None = None, backend: str | None = None, *,
        env: str | None = None, include: Any = (), set_as_current: bool = True, **options: Any,
    ) -> None:  # fmt: skip
        global _current
        self.main = main
        #: the environment on the server; None: FLOW_ENV, within a task the worker's, else "dev"
        self.env = env
        self.conf = Conf(broker_url=broker, result_backend=backend, **options)
        self.tasks: dict[str, Task] = {}
        self._client: SyncClient | None = None
        if set_as_current:
            _current = self

    def __repr__(self) -> str:
        return f"<App {self.main or 'default'}>"

    # ---- tasks

    def task(self, *args: Any, **options: Any) -> Any:
        """`@app.task`, or `@app.task(bind=True, …)`."""
        if len(args) == 1 and not options and callable(args[0]):
            return self._register(make_task(args[0], {}, self))
        return lambda function: self._register(make_task(function, options, self))

    def register_task(self, task: Any, **options: Any) -> Task:
        """A task class, or an object of it."""
        return self._register(make_task(task, options, self))

    def _register(self, task: Task) -> Task:
        task.app = self
        self.tasks[task.name] = task
        return task

    def signature(self, *args: Any, **options: Any) -> Any:
        return signature(*args, **options)

    def send_task(self, name: str, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        """Calls a task by its name."""
        found = signature(name, args, kwargs)
        return found.apply_async((), {}, **options)

    def AsyncResult(self, task_id: str) -> Any:
        from .results import AsyncResult

        return AsyncResult(task_id, app=self)

    # ---- settings

    def config_from_object(self, found: Any, **options: Any) -> None:
        """Takes the attributes of an object, or the entries of a dict."""
        if isinstance(found, str):
            from importlib import import_module  # only who names a module needs it

            found = import_module(found)
        given = found if isinstance(found, Mapping) else {n: getattr(found, n) for n in dir(found) if n[0] != "_"}
        self.conf.update(given)

    def autodiscover_tasks(self, *args: Any, **options: Any) -> None:
        """Nothing is to be discovered: workers import a task when they run it."""

    def routed(self, signature: Signature) -> Signature:
        """With the queues that `task_routes` and `task_default_queue` say, where a task has none."""
        if self.conf.task_routes is None and self.conf.task_default_queue is None:
            return signature
        if isinstance(signature, chain | group):
            return signature._of(tuple(map(self.routed, signature.tasks)))
        if not isinstance(signature, Call) or "queue" in signature.options or not isinstance(signature.task, Task):
            return signature
        queue = signature.task.__flow_settings__.get("queue") or self._route(signature.task.name)
        return signature if queue is None else signature.copied().set(queue=queue)

    def _route(self, name: str) -> str | None:
        for pattern, route in (self.conf.task_routes or {}).items():
            if fnmatch.fnmatchcase(name, pattern):
                found = route.get("queue") if isinstance(route, Mapping) else route
                return None if found is None else str(found)
        return self.conf.task_default_queue

    # ---- the server

    @property
    def client(self) -> SyncClient:
        """What it submits with; connects at its first call."""
        if self._client is None:
            from flowrun.client import SyncClient  # workers, and programs that only define tasks, need no client

            url = self.conf.broker_url
            found = url if isinstance(url, str) and url.startswith("nats://") else None
            self._client = SyncClient(found, env=self.env or environment())
        return self._client

    @client.setter
    def client(self, client: Any) -> None:
        self._client = client

    def close(self) -> None:
        """Returns when all that was submitted has arrived."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self, argv: Any = None) -> None:
        """There is nothing to start here."""
        raise SystemExit("workers are nodes: start one with `flowc node`, in the folder from which tasks are imported")

    worker_main = start


_current: App | None = None


#: as in Celery: `class Mine(app.Task)`
App.Task = Task  # type: ignore[attr-defined]


def current_app() -> App:
    """The app that was made last; one without a name if there is none."""
    return _current if _current is not None else App()
