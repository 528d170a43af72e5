"""Whether all that a manifest names is there, before a leader makes it what is deployed.

Who deploys stores plans first, so one is missing only where a store was lost, or an entry was written by other means.
The content of each is compared with its hash, as it is read. Code is not looked at here: it may be large, and a worker
that cannot have it says so.
"""

from __future__ import annotations

import asyncio

from flowc import plan as plans

from flowrun.errors import StoreError
from flowrun.manifest import Manifest
from flowrun.transport import Transport

__all__ = ["problem_of"]

#: plans that are read at the same time
_PARALLEL = 16


async def problem_of(transport: Transport, project: str, manifest: Manifest) -> str | None:
    """Why a manifest that is deployed as this project's cannot be used; None: it can. Raises TransportError."""
    if manifest.project != project:
        return f"its manifest is of project `{manifest.project}`, not of `{project}`"
    pending = iter([(flow.name, plan) for flow in manifest.flows for plan in (flow.plan, *flow.schedules.values())])
    problems: list[str] = []

    async def check_some() -> None:
        for flow, plan in pending:
            problem = await _problem(transport, plan)
            if problem is not None:
                problems.append(f"the plan of flow `{flow}` {problem}")

    await asyncio.gather(*(check_some() for _ in range(_PARALLEL)))
    return min(problems, default=None)


async def _problem(transport: Transport, plan: str) -> str | None:
    try:
        data = await transport.get_blob(plan)
        if plans.digest(data) != plan:
            return "was changed after it was deployed: its content has another hash"
        plans.decode(data)
    except StoreError as error:
        return f"cannot be had: {error}"
    except plans.PlanError as error:
        return f"cannot be used: {error}"
    return None
