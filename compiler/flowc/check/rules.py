"""`after`: trigger rules over named steps.

A name or a list of names means `none_failed`. A rule is a function over names and lists; `and` joins rules. A group is
one upstream, but for the rules that look at its members.
"""

from __future__ import annotations

from flowc import ir, syntax
from flowc.diagnostic import Label
from flowc.suggest import did_you_mean
from flowc.types import ERROR

from .constants import constant
from .context import Context
from .names import is_broken, unknown_value
from .targets import RULES, callee_name, first_call, symbol_of

__all__ = ["rules_of"]

#: rules that see the members of a group: `done` too, since a group fails before all its members have ended
_OF_MEMBERS = frozenset({"any_ok", "any_failed", "any_done", "at_least", "done"})

#: what Airflow calls them
_OF_AIRFLOW = {
    "all_success": "ok", "all_failed": "failed", "all_done": "done", "all_skipped": "skipped",
    "one_success": "any_ok", "one_failed": "any_failed", "one_done": "any_done",
    "all_done_min_one_success": "done_any_ok", "none_failed_min_one_success": "none_failed_any_ok",
    "none_failed_or_skipped": "none_failed_any_ok",
}  # fmt: skip


def rules_of(cx: Context, node: syntax.Expression) -> tuple[ir.Rule, ...]:
    """The rules of an `after`."""
    match node:
        case syntax.Binary(op="and", left=left, right=right):
            return (*rules_of(cx, left), *rules_of(cx, right))
        case syntax.Binary(op="or"):
            hint = "use one rule over a list, as `any_ok([a, b])` or `at_least(1, [a, b])`"
            cx.report("bad-rule", node, problem="rules are not joined with `or`", hint=hint)
            return ()
        case syntax.Unary(op="not"):
            hint = "name the opposite rule, as `failed(x)` for what is not ok"
            cx.report("bad-rule", node, problem="a rule has no `not`", hint=hint)
            return ()
        case syntax.Call():
            return _call(cx, node)
    steps = _upstreams(cx, node, of_members=False)
    return (ir.Rule(rule="none_failed", steps=steps),) if steps else ()


def _call(cx: Context, node: syntax.Call) -> tuple[ir.Rule, ...]:
    name = callee_name(node.func)
    if name not in RULES:
        if first_call(cx.module, node) is not None:
            cx.report(
                "bad-rule", node, problem="`after` waits for a step by its name", hint="bind the call first: `x = …`"
            )
        else:
            hint = f"write `{_OF_AIRFLOW[name]}`" if name in _OF_AIRFLOW else ""
            hint = hint or did_you_mean(name or "", RULES, "the rules are " + ", ".join(f"`{rule}`" for rule in RULES))
            cx.report("bad-rule", node.func, problem=f"there is no rule {cx.source_text(node.func)}", hint=hint)
        return ()
    named = next((arg.name for arg in node.args if arg.name is not None), None)
    if named is not None:
        hint = "write the steps without a name: `" + name + "([a, b])`"
        cx.report("bad-rule", named, problem=f"`{name}` takes no named arguments", hint=hint)
        return ()
    if name == "at_least":
        return _at_least(cx, node)
    if not node.args:
        cx.report("bad-rule", node, problem=f"`{name}` names no step", hint=f"write `{name}(x)` or `{name}([x, y])`")
        return ()
    steps = [step for arg in node.args for step in _upstreams(cx, arg.value, of_members=name in _OF_MEMBERS)]
    return (ir.Rule(rule=name, steps=tuple(dict.fromkeys(steps))),) if steps else ()  # type: ignore[arg-type]


def _at_least(cx: Context, node: syntax.Call) -> tuple[ir.Rule, ...]:
    if len(node.args) != 2:
        cx.report(
            "bad-rule", node, problem="`at_least` takes a number and a list", hint="write `at_least(2, [a, b, c])`"
        )
        return ()
    number = constant(cx, node.args[0].value, "the number of `at_least`")
    steps = tuple(dict.fromkeys(_upstreams(cx, node.args[1].value, of_members=True)))
    wanted = number.expr[1] if number.expr[0] == "lit" else None
    if number.type == ERROR or not steps:
        return ()
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        hint = "write `at_least(2, [a, b, c])`"
        cx.report("bad-rule", node.args[0].value, problem="`at_least` takes a number from 1", hint=hint)
        return ()
    if wanted > len(steps) and not _holds_each(cx, node.args[1].value):
        cx.report("rule-never-true", node, rule=f"at_least({wanted}, …)", why=f"it looks at {len(steps)} steps only")
        return ()
    return (ir.Rule(rule="at_least", steps=steps, n=wanted),)


def _holds_each(cx: Context, node: syntax.Expression) -> bool:
    """Whether an `each` is among the steps: how many items it has is not known before it runs."""
    if isinstance(node, syntax.ListExpr):
        return any(_holds_each(cx, item) for item in node.items)
    local = cx.scope.find(node.id) if isinstance(node, syntax.Name) else None
    return local is not None and local.is_each


def _upstreams(cx: Context, node: syntax.Expression, *, of_members: bool) -> tuple[int, ...]:
    if isinstance(node, syntax.ListExpr):
        found = [step for item in node.items for step in _upstreams(cx, item, of_members=of_members)]
        if not node.items:
            cx.report("bad-rule", node, problem="`after` names no step", hint="name at least one")
        return tuple(found)
    if not isinstance(node, syntax.Name) or node.id == "_":
        cx.report(
            "bad-rule", node, problem="`after` waits for steps by their names", hint="bind the step first: `x = …`"
        )
        return ()
    local = cx.scope.find(node.id)
    if local is None:
        if symbol_of(cx.module, node) is not None and cx.scope.find_later(node.id) is None:
            hint = f"bind its call first: `x = {node.id}(…)`, then `after x`"
            cx.report("bad-rule", node, problem=f"`after` waits for steps, and `{node.id}` is none", hint=hint)
        elif not is_broken(cx, node.id):
            unknown_value(cx, node)
        return ()
    local.used = True
    if local.value.type == ERROR:
        return ()
    if not local.is_step or local.id is None:
        hint = "a parameter or an item is there from the start: name a step"
        cx.report("bad-rule", node, problem=f"`{node.id}` is no step", hint=hint)
        return ()
    if local.depth < cx.depth:
        labels = () if local.span is None else (Label(span=local.span, text="bound here"),)
        hint = f"put `after {node.id}` behind the loop itself"
        problem = f"`{node.id}` stands outside of this loop"
        cx.report("bad-rule", node, labels=labels, problem=problem, hint=hint)
        return ()
    return local.members if of_members and local.members else (local.id,)
