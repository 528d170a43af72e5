"""The client for programs without an event loop: the same names, blocking.

    with SyncClient() as client:
        client.submit_task(send_mail, "ada@example.org")

It runs a `Client` on a thread of its own, and may be used from many threads at once: what they submit at the same
moment travels together. A process that was forked has none of that any more: its first call connects anew.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowc.plan import Plan

from flowrun.errors import FlowError
from flowrun.manifest import Variable
from flowrun.messages import BackfillState, LogNote, Presence, RunRecord, StateNote, TriggerState
from flowrun.settings import Settings

from .by_hand import StepEnd
from .client import Client, TaskCall
from .prepared import Canvas
from .run import Run
from .slas import SlaReport
from .status import ApprovalList, Rerun, RunList, RunStatus, TriggerList
from .variables import VariableInfo

if TYPE_CHECKING:
    from .backfills import Arguments, BackfillRun, PlannedWindow
    from .window_range import Moment

__all__ = ["SyncBackfill", "SyncClient", "SyncRun", "SyncTaskCall"]

T = TypeVar("T")


class SyncClient:
    """Connects at its first call; `close`, or the end of `with`, waits until all submissions have arrived. Methods are
    those of `Client`, and raise what they raise."""

    def __init__(self, url: str | None = None, env: str = "dev", *, settings: Settings | None = None) -> None:
        self._url, self._env, self._settings = url, env, settings
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._session: _Session | None = None

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Does nothing in a process that was forked since the last call."""
        session, self._session = self._session, None
        if session is not None and self._pid == os.getpid():
            session.close()

    def _now(self) -> _Session:
        """The session of this process."""
        if self._pid != os.getpid():  # a thread that held the lock was not forked with us
            self._pid, self._lock, self._session = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._session is None:
                self._session = _Session(self._url, self._env, self._settings)
            return self._session

    # ---- submit

    def submit(
        self, flow: Plan | str | Path | Canvas, args: Mapping[str, object] | None = None, /, **options: Any
    ) -> SyncRun:
        """Starts a run of a flow (a deployed one by its name), or of a canvas; returns when the submission cannot be
        lost."""
        return self._run(lambda client: client.submit(flow, args, **options))

    def submit_task(self, task: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> SyncRun:
        """Starts a run of a function, or of "module:function"; returns when the submission cannot be lost."""
        return self._run(lambda client: client.submit_task(task, *args, **kwargs))

    def task(self, task: Callable[..., Any] | str, /, **settings: Any) -> SyncTaskCall:
        """A function with settings and options, to be called."""
        return SyncTaskCall(self, task, settings)

    def submit_many(
        self, work: Callable[..., Any] | str | SyncTaskCall | Plan | Path, calls: Iterable[Any], **options: Any
    ) -> list[SyncRun]:
        """Many runs of one task or flow; returns when the server has all."""
        given = tuple(calls)

        def submit(client: Client) -> Coroutine[Any, Any, list[Run]]:
            inner = work.within(client) if isinstance(work, SyncTaskCall) else work
            return client.submit_many(inner, given, **options)

        return [SyncRun(self, run) for run in self._now().call(submit)]

    def _run(self, submit: Callable[[Client], asyncio.Future[Run]]) -> SyncRun:
        async def accepted(client: Client) -> Run:
            return await submit(client)

        return SyncRun(self, self._now().call(accepted))

    # ---- runs

    def run(self, run: str) -> SyncRun:
        """A handle of a run that anybody submitted."""

        async def handle(client: Client) -> Run:
            return client.run(run)

        return SyncRun(self, self._now().call(handle))

    def wait(self, run: str, timeout: float | None = None) -> RunRecord:
        return self._now().call(lambda client: client.wait(run, timeout))

    def result(self, run: str, timeout: float | None = None) -> Any:
        return self._now().call(lambda client: client.result(run, timeout))

    def value(self, record: RunRecord) -> Any:
        """A run's value as plain data."""
        return self._now().call(lambda client: client.value(record))

    def cancel(self, run: str, step: str = "", reason: str = "cancelled") -> None:
        self._now().call(lambda client: client.cancel(run, step, reason))

    def signal(self, run: str, name: str, value: object = None, *, by: str = "") -> None:
        self._now().call(lambda client: client.signal(run, name, value, by=by))

    def emit(self, subject: str, value: object = None, *, key: str = "") -> None:
        self._now().call(lambda client: client.emit(subject, value, key=key))

    def approve(self, run: str, step: str = "", *, note: str | None = None, by: str = "") -> str:
        return self._now().call(lambda client: client.approve(run, step, note=note, by=by))

    def reject(self, run: str, step: str = "", *, note: str | None = None, by: str = "") -> str:
        return self._now().call(lambda client: client.reject(run, step, note=note, by=by))

    def approvals(self, run: str = "", limit: int = 1_000) -> ApprovalList:
        return self._now().call(lambda client: client.approvals(run, limit))

    def pause(self, run: str, *, note: str = "", by: str = "") -> None:
        self._now().call(lambda client: client.pause(run, note=note, by=by))

    def resume(self, run: str, *, note: str = "", by: str = "") -> str:
        return self._now().call(lambda client: client.resume(run, note=note, by=by))

    def pause_flow(self, flow: str, *, note: str = "", by: str = "") -> None:
        self._now().call(lambda client: client.pause_flow(flow, note=note, by=by))

    def resume_flow(self, flow: str, *, note: str = "", by: str = "") -> None:
        self._now().call(lambda client: client.resume_flow(flow, note=note, by=by))

    def mark(
        self, run: str, step: str, end: StepEnd = "success", value: object = None, *, note: str = "", by: str = ""
    ) -> None:
        self._now().call(lambda client: client.mark(run, step, end, value, note=note, by=by))

    def rerun(
        self, run: str, /, from_steps: Sequence[str] = (), args: Mapping[str, object] | None = None, **more: Any
    ) -> SyncRun:
        return SyncRun(self, self._now().call(lambda client: client.rerun(run, from_steps, args, **more)))

    def preview_rerun(
        self, run: str, /, from_steps: Sequence[str] = (), args: Mapping[str, object] | None = None, **more: Any
    ) -> Rerun:
        return self._now().call(lambda client: client.preview_rerun(run, from_steps, args, **more))

    def triggers(self, flow: str = "", limit: int = 1_000) -> TriggerList:
        return self._now().call(lambda client: client.triggers(flow, limit))

    def trigger(self, name: str) -> TriggerState:
        return self._now().call(lambda client: client.trigger(name))

    def pause_trigger(self, name: str, *, note: str = "", by: str = "") -> str:
        return self._now().call(lambda client: client.pause_trigger(name, note=note, by=by))

    def resume_trigger(self, name: str, *, note: str = "", by: str = "") -> str:
        return self._now().call(lambda client: client.resume_trigger(name, note=note, by=by))

    def backfill(
        self, target: str, first: Moment, last: Moment, /, args: Arguments | None = None, **more: Any
    ) -> SyncBackfill:
        return SyncBackfill(self, self._now().call(lambda client: client.backfill(target, first, last, args, **more)))

    def preview_backfill(self, target: str, first: Moment, last: Moment, /, **more: Any) -> list[PlannedWindow]:
        return self._now().call(lambda client: client.preview_backfill(target, first, last, **more))

    def find_backfill(self, name: str) -> SyncBackfill:
        return SyncBackfill(self, self._now().call(lambda client: client.find_backfill(name)))

    def backfills(self, limit: int = 100) -> tuple[BackfillState, ...]:
        return self._now().call(lambda client: client.backfills(limit))

    def deployed(self, flow: str) -> Plan:
        """The plan of a flow that is deployed in the environment."""
        return self._now().call(lambda client: client.deployed(flow))

    def plan_of(self, run: str) -> Plan:
        return self._now().call(lambda client: client.plan_of(run))

    def status(self, run: str) -> RunStatus:
        return self._now().call(lambda client: client.status(run))

    def list(self, flow: str = "", limit: int = 100) -> RunList:
        return self._now().call(lambda client: client.list(flow, limit))

    def service_levels(self, flow: str = "", since_ms: int = 0, misses: int = 100) -> SlaReport:
        return self._now().call(lambda client: client.service_levels(flow, since_ms, misses))

    def set_var(self, name: str, value: object, *, by: str = "", declared: Sequence[Variable] = ()) -> None:
        self._now().call(lambda client: client.set_var(name, value, by=by, declared=declared))

    def unset_var(self, name: str, *, by: str = "") -> None:
        self._now().call(lambda client: client.unset_var(name, by=by))

    def get_var(self, name: str) -> Any:
        return self._now().call(lambda client: client.get_var(name))

    def vars(self) -> tuple[VariableInfo, ...]:
        return self._now().call(lambda client: client.vars())

    def nodes(self) -> tuple[Presence, ...]:
        return self._now().call(lambda client: client.nodes())

    def events(self, run: str) -> Generator[StateNote | LogNote, None, None]:
        """What happens in a run; ends with it."""
        session = self._now()

        async def begin(client: Client) -> Any:
            return aiter(client.events(run))

        notes = session.call(begin)

        async def following(client: Client) -> StateNote | LogNote | None:
            return await anext(notes, None)

        try:
            while (note := session.call(following)) is not None:
                yield note
        finally:
            session.call(lambda client: notes.aclose())


class SyncRun:
    """A handle of a run that the server has."""

    def __init__(self, client: SyncClient, run: Run) -> None:
        self._client, self._run = client, run
        self.id = run.id

    def __repr__(self) -> str:
        return repr(self._run)

    @property
    def returns(self) -> Any:
        """The annotation that its value is converted to."""
        return self._run.returns

    def result(self, timeout: float | None = None) -> Any:
        """As `Run.result`."""

        async def result(client: Client) -> Any:
            return await self._in(client).result(timeout)

        return self._client._now().call(result)

    def wait(self, timeout: float | None = None) -> RunRecord:
        """As `Run.wait`."""
        return self._client._now().call(lambda client: self._in(client).wait(timeout))

    def cancel(self, step: str = "") -> None:
        """As `Run.cancel`."""
        self._client.cancel(self.id, step)

    def signal(self, name: str, value: object = None, *, by: str = "") -> None:
        """As `Run.signal`."""
        self._client.signal(self.id, name, value, by=by)

    def approve(self, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """As `Run.approve`."""
        return self._client.approve(self.id, step, note=note, by=by)

    def reject(self, step: str = "", *, note: str | None = None, by: str = "") -> str:
        """As `Run.reject`."""
        return self._client.reject(self.id, step, note=note, by=by)

    def pause(self, *, note: str = "", by: str = "") -> None:
        """As `Run.pause`."""
        self._client.pause(self.id, note=note, by=by)

    def resume(self, *, note: str = "", by: str = "") -> str:
        """As `Run.resume`."""
        return self._client.resume(self.id, note=note, by=by)

    def mark(self, step: str, end: StepEnd = "success", value: object = None, *, note: str = "", by: str = "") -> None:
        """As `Run.mark`."""
        self._client.mark(self.id, step, end, value, note=note, by=by)

    def rerun(self, from_steps: Sequence[str] = (), args: Mapping[str, object] | None = None, **more: Any) -> SyncRun:
        """As `Run.rerun`."""
        return self._client.rerun(self.id, from_steps, args, **more)

    def status(self) -> RunStatus:
        """As `Run.status`."""
        return self._client.status(self.id)

    def events(self) -> Iterator[StateNote | LogNote]:
        """As `Run.events`."""
        return self._client.events(self.id)

    def _in(self, client: Client) -> Run:
        """The handle; in a forked process, another one of the same run."""
        return self._run if self._run.belongs_to(client) else client.run(self.id)


class SyncBackfill:
    """A handle of a backfill."""

    def __init__(self, client: SyncClient, backfill: BackfillRun) -> None:
        self._client, self._backfill = client, backfill
        self.name, self.trigger = backfill.name, backfill.trigger

    def state(self) -> BackfillState | None:
        """As `BackfillRun.state`."""
        return self._client._now().call(lambda client: self._backfill.state())

    def wait(self, timeout: float | None = None) -> BackfillState:
        """As `BackfillRun.wait`."""
        return self._client._now().call(lambda client: self._backfill.wait(timeout))

    def stop(self) -> BackfillState:
        """As `BackfillRun.stop`."""
        return self._client._now().call(lambda client: self._backfill.stop())


class SyncTaskCall:
    """A function with settings and options. Made by `SyncClient.task`; calling it submits."""

    def __init__(self, client: SyncClient, task: Callable[..., Any] | str, settings: dict[str, Any]) -> None:
        self._client, self._task, self._settings = client, task, settings

    def __call__(self, *args: Any, **kwargs: Any) -> SyncRun:
        return self._client._run(lambda client: self.within(client)(*args, **kwargs))

    def within(self, client: Client) -> TaskCall:
        return client.task(self._task, **self._settings)


class _Session:
    """A client on a thread of its own, in one process."""

    def __init__(self, url: str | None, env: str, settings: Settings | None) -> None:
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flow-client", daemon=True)
        self._thread.start()
        try:
            self._client: Client = self._wait(_connected(url, env, settings))
        except BaseException:
            self._end()
            raise

    def call(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Runs it on the client's thread, and waits for it."""
        return self._wait(self._begin(work))

    async def _begin(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        return await work(self._client)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise FlowError("this client is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C, say: nobody waits any more
            raise

    def close(self) -> None:
        try:
            self._wait(self._client.close())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _connected(url: str | None, env: str, settings: Settings | None) -> Client:
    return await Client.connect(url, env, settings=settings)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # absent on Windows
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
