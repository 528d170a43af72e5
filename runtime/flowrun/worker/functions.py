"""Python functions by target: found once, imported once, with what their annotations ask for.

A target is "package.module:function" (imported, the project's folders on sys.path) or "folder/file.py:function"
(relative to the project's root, loaded by path). Values arrive as the language's own (`values`): str, int, Decimal,
date, dict, list, …; a parameter annotated with a dataclass, a Struct, a pydantic model, a Path or an Enum receives
that. A parameter annotated with `Context` receives the facts of the attempt.
"""

from __future__ import annotations

import sys
import threading
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from flowrun.operator import Context

from .failures import TaskFailed, from_exception, mismatch, not_found

__all__ = ["Function", "Functions"]

_PASSED_AS_THEY_ARE = (Any, object, None, type(None))
#: `inspect.CO_COROUTINE`, without the time that importing `inspect` takes
_CO_COROUTINE = 0x80


class Function(msgspec.Struct, frozen=True):
    """A task's function."""

    target: str
    call: Callable[..., Any]
    #: name of the parameter that receives the Context, or None
    context: str | None
    #: the annotation of each parameter whose values may need conversion
    wanted: Mapping[str, Any]
    #: an `async def`
    is_async: bool

    def convert(self, name: str, value: Any) -> Any:
        """The value as the parameter's annotation wants it. Raises TaskFailed (TypeMismatch)."""
        kind = self.wanted.get(name)
        if kind is None or type(value) is kind:
            return value
        try:
            return msgspec.convert(value, kind, dec_hook=_custom)
        except msgspec.ValidationError as error:
            raise TaskFailed(
                mismatch(f"the argument `{name}` does not fit the annotation of `{self.target}`: {error}")
            ) from None
        except TypeError:
            # an annotation that msgspec cannot take apart: the value is passed as it is, as plain Python would
            return value


class Functions:
    """The functions that this process has imported."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Function] = {}
        self._lock = threading.Lock()  # two threads must not run a file twice

    def get(self, target: str) -> Function:
        """Raises TaskFailed: NotFound, or what the module raised when it was imported."""
        with self._lock:
            function = self._known.get(target)
            if function is None:
                function = self._known[target] = self._load(target)
            return function

    def _load(self, target: str) -> Function:
        where, _, name = target.rpartition(":")
        module = self._file(where, target) if where.endswith(".py") else self._module(where, target)
        call: Any = module
        for part in name.split("."):
            call = _member(call, part)
        call = getattr(call, "__flow_task__", call)  # of the canvas: what it wants to be called by
        if not callable(call):
            raise not_found(
                f"there is no function `{name}` in {_origin(module)}, where `{target}` was looked for"
                if call is None
                else f"`{name}` in {_origin(module)} is no function but a {type(call).__name__}"
            )
        wanted = _annotations(call)
        context = next((key for key, kind in wanted.items() if kind is Context), None)
        needed = {k: v for k, v in wanted.items() if k != context and v not in _PASSED_AS_THEY_ARE}
        return Function(target, call, context, needed, _is_async(call))

    def _module(self, name: str, target: str) -> types.ModuleType:
        import importlib  # not needed by processes that run shell and SQL only

        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                places = ", ".join(dict.fromkeys(p or "." for p in sys.path[:4]))
                raise not_found(
                    f"there is no module `{error.name}`, which `{target}` needs; looked in {places} and the installed "
                    "packages (`python` in flow.toml adds folders)"
                ) from None
            raise _import_failed(error) from error
        except BaseException as error:
            raise _import_failed(error) from error

    def _file(self, name: str, target: str) -> types.ModuleType:
        import importlib.util  # see _module

        path = (self._root / name).resolve()
        if not path.is_file():
            raise not_found(f"there is no file `{name}`, which `{target}` needs; looked for {path}")
        dotted = name.removesuffix(".py").removeprefix("./").replace("/", ".")
        loaded = sys.modules.get(dotted)
        if loaded is not None:
            if getattr(loaded, "__file__", None) == str(path):
                return loaded
            dotted = f"flow_task_{abs(hash(str(path))):x}"
        spec = importlib.util.spec_from_file_location(dotted, path)
        if spec is None or spec.loader is None:
            raise not_found(f"`{name}` is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[dotted] = module
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))  # what stands beside the file can be imported, as for a script
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[dotted]
            raise _import_failed(error) from error
        return module


def _member(found: Any, name: str) -> Any:
    if name == "__flow_errback__" and callable(found) and not hasattr(found, name):
        from flowrun.canvas import as_task  # a plain function handles the failure of a canvas

        found = as_task(found)
    return getattr(found, name, None)


def _is_async(call: Callable[..., Any]) -> bool:
    method = call if hasattr(call, "__code__") else type(call).__call__
    code = getattr(method, "__code__", None)
    return bool(code is not None and code.co_flags & _CO_COROUTINE)


def _origin(module: types.ModuleType) -> str:
    return getattr(module, "__file__", None) or module.__name__


def _import_failed(error: BaseException) -> TaskFailed:
    failure = from_exception(error)
    lasting = isinstance(error, ImportError | SyntaxError)
    return TaskFailed(
        msgspec.structs.replace(
            failure,
            message=f"the task's module could not be imported: {failure.message}",
            retryable=failure.retryable and not lasting,
        )
    )


def _annotations(call: Callable[..., Any]) -> dict[str, Any]:
    """What each parameter is annotated with; nothing where an annotation names what is not importable."""
    plain = hasattr(call, "__code__") or hasattr(call, "__wrapped__")
    subject = call if plain else type(call).__call__
    try:
        hints = typing.get_type_hints(subject)
    except Exception:  # user code: an annotation may raise anything
        hints = {k: v for k, v in getattr(subject, "__annotations__", {}).items() if not isinstance(v, str)}
    hints.pop("return", None)
    return hints


def _custom(kind: type, value: Any) -> Any:
    """Conversion to the types that msgspec does not know."""
    if isinstance(value, kind):
        return value
    validate = getattr(kind, "model_validate", None)
    if validate is not None:  # pydantic
        try:
            return validate(value)
        except ValueError as error:
            raise msgspec.ValidationError(str(error)) from None
    if issubclass(Path, kind) and isinstance(value, str):
        return Path(value)
    return value
