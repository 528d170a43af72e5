"""`run: shell("…")`: a command line in /bin/sh, its output as the result.

`sh -eu -c TEXT` in the project's folder: the first command that fails ends it, and an unset variable is an error.
Interpolated values are quoted, each as one word; a list as one word per item; records and maps as JSON; null as an
empty word. Standard output is the result: of a task that returns a string, without its last line break; of any other
type, read as JSON; without `returns`, it goes to the log. Standard error goes to the log, and its end into the
failure when the exit code is not 0. The environment is the worker's, plus the step's `env`.
"""

from __future__ import annotations

import ctypes
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any

import msgspec
from flowc.plan import Expr, TaskDef
from flowc.types import STRING, Type, text

from flowrun import expr
from flowrun.messages import Failure
from flowrun.operator import Context

from .failures import TaskFailed, cut

__all__ = ["command_line", "shell_operator"]

#: of standard error in a failure, in characters
_MOST_ERROR = 1_500
_PR_SET_PDEATHSIG = 1


def shell_operator(task: TaskDef, returns: Type | None) -> Callable[[Mapping[str, Any], Callable[[], Context]], Any]:
    """Runs the task's command and gives its output as the declared type asks."""
    assert task.template is not None, task.name
    template = task.template

    def operate(args: Mapping[str, Any], facts: Callable[[], Context]) -> Any:
        output = _execute(command_line(template, args), keep=returns is not None)
        return None if returns is None else _value(output, returns)

    return operate


def command_line(template: Expr, args: Mapping[str, Any]) -> str:
    """The text for the shell: literal parts as they are, values quoted. Raises ExpressionError."""
    env = expr.Env(args=args)
    parts = template[1:] if template[0] == "str" else [template]
    return "".join(
        part[1] if part[0] == "lit" and isinstance(part[1], str) else _word(expr.evaluate(part, env)) for part in parts
    )


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_word(item) for item in value)
    if isinstance(value, dict):
        return shlex.quote(msgspec.json.encode(value).decode())
    return shlex.quote("" if value is None else expr.show(value))


def _execute(command: str, *, keep: bool) -> str:
    """Standard output, if it is to be kept. Raises TaskFailed (ExitCode)."""
    process = subprocess.Popen(
        ["/bin/sh", "-eu", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if keep else None,  # else to the executor's own, which the agent reads
        stderr=subprocess.PIPE,
        preexec_fn=_die_with_executor if sys.platform == "linux" else None,
    )
    assert process.stderr is not None
    last: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=_pass_on, args=(process.stderr, last), daemon=True)
    reader.start()
    try:
        output = _read(process.stdout) if process.stdout is not None else b""
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    reader.join(timeout=1.0)  # a child in the background may keep it open
    if code != 0:
        raise TaskFailed(Failure("ExitCode", _exit_message(code, "".join(last)), command))
    return output.decode("utf-8", "replace")


def _read(stream: IO[bytes]) -> bytes:
    with stream:
        return stream.read()


def _pass_on(stream: IO[bytes], last: deque[str]) -> None:
    with stream:
        for line in stream:
            text = line.decode("utf-8", "replace")
            last.append(text)
            sys.stderr.write(text)


def _die_with_executor() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _exit_message(code: int, error: str) -> str:
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    error = error.strip()
    if len(error) > _MOST_ERROR:
        error = "…" + error[-_MOST_ERROR:]
    return f"the command {reason}" + (f": {error}" if error else "")


def _value(output: str, returns: Type) -> Any:
    if returns == STRING:
        return output.removesuffix("\n")
    try:
        return msgspec.json.decode(output)
    except msgspec.DecodeError as error:
        raise TaskFailed(
            Failure(
                "TypeMismatch",
                f"the command's output is no JSON, as which the result `{text(returns)}` is read ({error}): "
                f"{cut(output.strip(), 200) or 'it is empty'}",
                retryable=False,
            )
        ) from None
