"""Lowering: from the checked tree of a flow to the flat graph that the engine runs.

A flow's body becomes block 0 of the plan; the tree inside it is flattened in written order, which is an order of the
dependencies, by these steps, one module each:

1. `uses`     which ids are read where. What nobody reads and cannot fail is left out; what the body of an `each`, a
              `repeat` or a handler reads from outside becomes its captures.
2. `fold`     expressions over constants are computed.
3. `block`    ids become positions: a `["ref", id]` becomes an input edge and `["in", i]`; a rule becomes a trigger.
4. `calls`    calls, values, joins: a node each.
5. `branches` `if` becomes a branch node; the nodes of its arms carry it as their guard, nested arms the inner one;
              a name bound in several arms becomes a merge. `catch` and `on …` are branches on how steps ended: an
              outcome node that watches them. A failure is handled by the innermost `catch` around its step; steps of
              handlers and clean-ups never fail the run. `using` starts its body when the set-up is there, and its
              clean-up by the tear-down rule.
6. `loops`    bodies of `each` and `repeat` are blocks of their own, with what they use from outside as parameters.
7. `tables`   types, settings, tasks, pools and connections are kept once each, in the order of their first use.
8. `triggers` what starts runs, and the variables that are read.
9. `flows`    puts the plan together, with the plans of all child flows.

Where a construct is more than a node (a rule before a whole `catch`, the end of a whole `if`), a node without a name
stands for it: a branch with one arm, or a null value with triggers. The same program gives the same bytes.
"""

from __future__ import annotations

from .flows import lower

__all__ = ["lower"]
