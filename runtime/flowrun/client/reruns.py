"""Reruns: what is left of an ended run, what of it would run again, and the submission that does it.

All that a rerun needs is looked at before anything is submitted, by the same functions by which the engine decides
later: so what cannot be is refused with a reason, and `preview` tells what will happen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from flowc import compare
from flowc import plan as plans
from flowc.plan import Plan

from flowrun.engine.again import FAILED_ITEMS, AgainError, changed_parameters, select
from flowrun.engine.graph import Graph, Tables
from flowrun.engine.image import Image, ImageError, pack_image, unpack_image
from flowrun.engine.translate import translate
from flowrun.errors import StoreError
from flowrun.messages import Again, RunRecord, Scheduled
from flowrun.parameters import encode_arguments
from flowrun.records import read_image, renew_blobs
from flowrun.transport import Transport
from flowrun.values import NULL

from .errors import Refused
from .status import Rerun
from .stored import Blobs

__all__ = ["Prepared", "plan_of", "prepare"]

_args_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A rerun that can be submitted."""

    what: Rerun
    plan: Plan
    digest: str
    data: bytes
    again: Again
    args: bytes
    #: that the submission refers to
    blobs: Blobs
    #: what is taken over
    image: Image
    #: the time that it stands for
    scheduled: Scheduled | None = None

    async def renew(self, transport: Transport) -> None:
        """Puts again what the image refers to, and the plan's code: a run that lives is about to refer to them. Raises
        StoreError, Refused."""
        await renew_blobs(transport, self.what.of, [msgspec.msgpack.encode(self.image)])
        if not self.plan.code:
            return
        try:
            code = await transport.get_blob(self.plan.code)
        except StoreError as error:
            raise Refused(
                f"the code of run {self.what.of} cannot be had any more ({error}): go on with it under another plan, "
                "that of the deployed flow, say"
            ) from error
        await transport.put_blob(self.plan.code, code)


async def plan_of(transport: Transport, record: RunRecord) -> Plan:
    """The plan of an ended run. Raises Refused."""
    image, _ = await _image_of(transport, record)
    return (await _plan_of(transport, record.run, image.plan))[0]


async def prepare(
    transport: Transport,
    record: RunRecord,
    again: Again,
    args: Mapping[str, object],
    plan: tuple[Plan, str, bytes] | None,
) -> Prepared:
    """`again.image` is filled in; `plan`: another one, with its digest and bytes. Raises Refused, ArgumentError."""
    image, stored = await _image_of(transport, record)
    old = await _plan_of(transport, record.run, image.plan)
    changed: dict[str, str] = {}
    if plan is not None and plan[1] != old[1]:
        compared = compare.compare(old[0], plan[0], args)
        if compared.problems:
            raise Refused(f"run {record.run} cannot go on with this plan: " + "; ".join(compared.problems))
        image, changed = translate(image, compared, plan[1], plan[0]), compared.changed
        stored = pack_image(image)
    found, digest, data = plan or old
    again = msgspec.structs.replace(again, image=plans.digest(stored))
    encoded, blobs = _encoded(found, args)
    graph = Tables(digest, found).graph("", 0)
    try:
        chosen = select(graph, image, again, changed_parameters(graph, image, _parameters(graph, image, encoded)))
    except AgainError as error:
        raise Refused(str(error)) from None
    what = _described(graph, image, chosen, changed)
    return Prepared(
        what=what, plan=found, digest=digest, data=data, again=again, args=encoded,
        blobs=[*blobs, (again.image, stored)], image=image, scheduled=record.scheduled,
    )  # fmt: skip


async def _image_of(transport: Transport, record: RunRecord) -> tuple[Image, bytes]:
    try:
        stored = await read_image(transport, record.run)
        if stored is None:
            raise Refused(
                f"nothing is left of run {record.run} to go on from: it never began, it is a single task that "
                "succeeded, or its flow keeps no result. Submit it again"
            )
        return unpack_image(stored), stored
    except (StoreError, ImageError) as error:
        raise Refused(f"what is left of run {record.run} cannot be read: {error}") from error


async def _plan_of(transport: Transport, run: str, digest: str) -> tuple[Plan, str, bytes]:
    try:
        data = await transport.get_blob(digest)
        return plans.decode(data), digest, data
    except (StoreError, plans.PlanError) as error:
        raise Refused(f"the plan of run {run} cannot be had any more: {error}") from error


def _encoded(plan: Plan, args: Mapping[str, object]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """The arguments that are given; the others stay as they were. Raises ArgumentError."""
    params = tuple(msgspec.structs.replace(param, required=False) for param in plan.params)
    return encode_arguments(msgspec.structs.replace(plan, params=params), args)


def _parameters(graph: Graph, image: Image, encoded: bytes) -> list[bytes]:
    """The values of the parameters, as the engine will have them; of a default, that it is another value than before
    is all that counts."""
    given = {name: bytes(value) for name, value in _args_decoder.decode(encoded).items()}
    names = ["", *graph.param_names]
    return [given.get(name, image.values[place] or NULL) for place, name in enumerate(names)]


def _described(graph: Graph, image: Image, chosen: Sequence[int], changed: dict[str, str]) -> Rerun:
    steps = graph.steps
    partly = {name for node, name in steps if chosen[node] == FAILED_ITEMS and node in image.fans}
    return Rerun(
        of=image.run,
        flow=graph.plan.flow,
        kept=tuple(name for node, name in steps if not chosen[node]),
        runs=tuple(name for node, name in steps if chosen[node] and name not in partly),
        items=tuple(name for _, name in steps if name in partly),
        changed=changed,
    )
