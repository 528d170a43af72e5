"""What of the deployed flows listens to the outside: their triggers, taken apart into sources."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import msgspec
from flowc.plan import EventSource, FileSource, TriggerDef, WebhookSource
from flowc.types import JSON, Type

from flowrun.manifest import Manifest
from flowrun.sources import leaves

__all__ = ["Route", "event_routes", "sources_of", "webhook_routes"]

log = logging.getLogger("flow.ingress")

#: the sources that an ingress serves
Outside = WebhookSource | EventSource | FileSource


class Route(msgspec.Struct, frozen=True):
    """From a source to the trigger that it belongs to."""

    #: "flow.trigger"
    trigger: str
    #: its place among the sources of the trigger (see `sources`)
    place: int
    source: Outside
    #: of `event.body`
    body: Type


def sources_of(id: str, definition: TriggerDef, types: tuple[Type, ...]) -> Iterator[Route]:
    """The sources of a trigger that come from outside. `types`: those of its flow, in which `body` is an index."""
    for place, part in enumerate(leaves(definition.source)):
        if isinstance(part, Outside):
            yield Route(id, place, part, types[part.body] if part.body < len(types) else JSON)


def _routes(manifest: Manifest) -> Iterator[Route]:
    for flow in manifest.flows:
        for definition in flow.triggers:
            yield from sources_of(f"{flow.name}.{definition.name}", definition, flow.types)


def webhook_routes(manifests: Iterable[Manifest]) -> dict[str, Route]:
    """Path -> its route. A path belongs to one trigger: the first by its id."""
    found: dict[str, Route] = {}
    routes = sorted(
        (route for manifest in manifests for route in _routes(manifest)), key=lambda r: (r.trigger, r.place)
    )
    for route in routes:
        if not isinstance(route.source, WebhookSource):
            continue
        first = found.setdefault(route.source.path, route)
        if first is not route:
            log.error(
                "the path %s belongs to the trigger %s: %s gets nothing",
                route.source.path,
                first.trigger,
                route.trigger,
            )
    return found


def event_routes(manifests: Iterable[Manifest]) -> list[Route]:
    """All sources that wait for messages of others."""
    return [route for manifest in manifests for route in _routes(manifest) if isinstance(route.source, EventSource)]
