"""Bundles on their way to the work stream.

One that the server cannot store now is tried again; one that it will never take (a step with megabytes of inputs) ends
its items as failed, by results in the inbox like any others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flowrun.background import Background
from flowrun.dispatch import Cut
from flowrun.errors import StoreError, ValueTooLarge
from flowrun.messages import Bundle, Failure, Outcome, Results, pack, pack_events
from flowrun.transport import Transport

__all__ = ["Bundles"]

log = logging.getLogger("flow.coordinator")

#: between two tries, in seconds: from, to
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0


class Bundles:
    """`stands(bundle, loop time)` is called when the work stream has it. A dispatch of a leader that was replaced
    raises Fenced into `background`."""

    def __init__(
        self, transport: Transport, group: str, background: Background, stands: Callable[[str, float], None]
    ) -> None:
        self._transport, self._group, self._background, self._stands = transport, group, background, stands
        self.fence = 0

    def send(self, cut: Cut) -> None:
        self._background.start(self._send(cut))

    async def _send(self, cut: Cut) -> None:
        bundle, wait = cut.bundle, _FIRST_WAIT
        data = pack(bundle)
        while True:
            try:
                await self._transport.dispatch(
                    self._group, bundle.lane, cut.priority, bundle.partition, data, bundle.id, self.fence
                )
            except ValueTooLarge as error:
                await self._refuse(bundle, error)
            except StoreError as error:
                log.error("work cannot be dispatched, and is tried again: %s", error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            self._stands(bundle.id, asyncio.get_running_loop().time())
            return

    async def _refuse(self, bundle: Bundle, error: ValueTooLarge) -> None:
        failure = Failure(
            type="ValueTooLarge",
            message=f"the inputs of the step are too large to be sent to a worker together: {error}",
            retryable=False,
        )
        outcomes = [
            Outcome(item.run, item.scope, item.node, item.attempt, "failed", error=failure, first=place, last=last)
            for item in bundle.items
            for place, last in ([(-1, -1)] if item.last < 0 else [(i, i + 1) for i in range(item.first, item.last)])
        ]
        event = Results(bundle.id, "coordinator", tuple(outcomes))
        await self._transport.append(bundle.partition, pack_events([event]), f"{bundle.id}/refused")
