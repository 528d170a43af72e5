"""What the decorators of a Python function say of it as a task, read from the source.

`@task(…)` has settings by their own names. A task of the canvas (`@app.task(…)`, `@shared_task`, `@task` from
`flowrun.canvas`) may have Celery's options as well: what has a setting becomes that, and what means nothing here is
left out. A rate limit is none of these: in `.flow` it is a `limit`, which has a name, so it stays, and is told.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

import msgspec

__all__ = ["Marked", "marked", "of_class"]

#: options that mean nothing here, or are not literals
_IGNORED = frozenset({
    "name", "bind", "base", "ignore_result", "autoretry_for", "dont_autoretry_for", "retry_kwargs", "throws",
    "acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost", "serializer", "compression", "track_started",
    "store_errors_even_if_ignored", "send_events", "trail", "typing", "pydantic",
})  # fmt: skip
_RETRY = ("max_retries", "default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_jitter")
_RENAMED = {"time_limit": "timeout", "soft_time_limit": "soft_timeout"}
#: options that are seconds
_SECONDS = ("timeout", "soft_timeout", "expires")
#: `max_retries=None`: for ever
_FOR_EVER = 1_000_000_000
_UNREAD = object()


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """A function as its decorators have it."""

    #: the literals, as settings
    settings: dict[str, object] = {}
    #: names whose values are no literals
    unread: tuple[str, ...] = ()
    #: its first parameter is the task itself
    is_bound: bool = False


def marked(decorators: Iterable[ast.expr], imported: Mapping[str, str | None]) -> Marked:
    """`imported`: the modules that names of the file come from."""
    found = Marked()
    for decorator in decorators:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
        if _is_canvas(call, imported):
            found = _of_canvas(keywords)
        elif isinstance(decorator, ast.Call) and _name(call) == "task":
            values = {keyword.arg or "**": literal(keyword.value, _UNREAD) for keyword in keywords}
            found = _read({**found.settings, **values}, found.is_bound, found.unread)
    return found


def _read(values: Mapping[str, object], is_bound: bool, unread: tuple[str, ...] = ()) -> Marked:
    settings = {name: value for name, value in values.items() if value is not _UNREAD}
    more = tuple(name for name, value in values.items() if value is _UNREAD)
    return Marked(settings=settings, unread=(*unread, *more), is_bound=is_bound)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_canvas(node: ast.expr, imported: Mapping[str, str | None]) -> bool:
    match node:
        case ast.Name(id="shared_task") | ast.Attribute(attr="shared_task"):
            return True
        case ast.Name(id="task"):
            return (imported.get("task") or "").startswith("flowrun.canvas")
        case ast.Attribute(value=ast.Name(id=owner), attr="task"):
            return owner not in ("operator", "flowrun", "flow")
    return False


def _of_canvas(keywords: Iterable[ast.keyword]) -> Marked:
    values = {keyword.arg or "**": literal(keyword.value, _UNREAD) for keyword in keywords}
    is_bound = values.get("bind") is True
    found = {_RENAMED.get(name, name): value for name, value in values.items() if name not in _IGNORED}
    policy = _retry(found, "autoretry_for" in values or is_bound)
    for name in _SECONDS:
        if isinstance(value := found.get(name), int | float):
            found[name] = _text(value)
    if policy is not None:
        found.setdefault("retry", policy)
    return _read({name: value for name, value in found.items() if value is not None}, is_bound)


def _retry(options: dict[str, object], is_tried_again: bool) -> object:
    """The policy of a task that is tried again, by Celery's defaults. Takes its options out."""
    given = {name: options.pop(name) for name in _RETRY if name in options}
    if not is_tried_again:
        return None
    if _UNREAD in given.values():
        return _UNREAD
    most, backoff = given.get("max_retries", 3), given.get("retry_backoff", False)
    policy: dict[str, object] = {"max": _FOR_EVER if most is None else most}
    if not backoff:
        return {**policy, "backoff": "fixed", "first": _text(given.get("default_retry_delay", 180))}
    cap, jitter = given.get("retry_backoff_max", 600), given.get("retry_jitter", True)
    first = _text(1 if backoff is True else backoff)
    return {**policy, "backoff": "exponential", "first": first, "cap": _text(cap), "jitter": 1.0 if jitter else 0.0}


def _text(seconds: object) -> object:
    """A duration, as settings have it."""
    return f"{round(seconds * 1000)}ms" if isinstance(seconds, int | float) else seconds


def of_class(node: ast.ClassDef) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The method `run` of a task class; None if it is none."""
    if not any(_name(base).endswith("Task") for base in node.bases):
        return None
    methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
    return next((method for method in methods if method.name == "run"), None)


def literal(node: ast.expr, otherwise: object) -> object:
    """The value of a literal."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return otherwise
