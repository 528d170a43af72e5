"""What the engine must be given before it decides: plans, manifests and images, and which of them are needed."""

from __future__ import annotations

from flowc.plan import Plan

from flowrun.manifest import Manifest
from flowrun.messages import (
    Arrived,
    Backfill,
    Control,
    Deployed,
    Event,
    Raised,
    Results,
    Submit,
    Tick,
)

from . import (
    arrivals,
    backfill,
)
from .core import Core
from .graph import Tables
from .snapshot import head_of

__all__ = ["Loaded"]


class Loaded(Core):
    """The part of the engine that knows plans."""

    def needs(self, event: Event) -> str | None:
        """The hash of the plan that must be added before this event is decided; None if none is missing. One that could
        not be had is asked for again: whoever submits puts it."""
        if not isinstance(event, Submit) or event.plan in self.tables:
            return None
        return None if self.is_known(event.run) else event.plan

    def needs_plans(self, event: Event) -> list[str]:
        """The same for the plans of runs that an event may start by itself."""
        found: set[str] = set()
        match event:
            case Tick() | Arrived() | Backfill():
                trigger = self.triggers.own.get(event.trigger)
                if trigger is not None:
                    found.update((trigger.plan, *trigger.schedules.values()))
            case Control() if event.trigger in self.triggers.own:
                found.update(self.triggers.own[event.trigger].schedules.values())
            case Raised():
                found.update(trigger.plan for trigger, _ in arrivals.heard_by(self, event.subject))
            case Deployed():
                manifest = self.manifests.get(event.manifest)
                flows = manifest.flows if manifest else ()
                found.update(plan for flow in flows for plan in flow.schedules.values())
                found.update(flow.plan for flow in flows if self.backfills.is_of(flow.name))
        return sorted(plan for plan in found if plan not in self.tables)

    def needs_manifest(self, event: Deployed) -> str | None:
        """The hash of the manifest that must be added before this event is decided; None if none is missing."""
        known = event.manifest in self.manifests or not event.manifest
        return None if known or self.is_outdated(event) else event.manifest

    def is_outdated(self, event: Deployed) -> bool:
        known = self.triggers.projects.get(event.project)
        return known is not None and event.number <= known.number

    def add_manifest(self, digest: str, manifest: Manifest) -> None:
        """For the next deployment of it; of one that cannot be had none is added: then what was deployed goes on."""
        self.manifests[digest] = manifest

    def needs_also(self, event: Results) -> list[str]:
        """The same for the plans that replaced tasks; one that could not be had is not asked for again."""
        return [plan for plan in event.plans if plan not in self.tables and plan not in self.refused]

    def add_plan(self, digest: str, plan: Plan) -> None:
        self.tables[digest] = Tables(digest, plan)
        self.refused.pop(digest, None)

    def forget_plans(self) -> set[str]:
        """Drops the plans that no living run is of; gives the others. O(runs)."""
        used = {single.tables.digest for single in self.singles.values()}
        for run in self.runs.values():
            used.update((run.plan, *run.plans))
        for head in map(head_of, self.frozen.values()):
            used.update((head.plan, *head.plans))
        used |= backfill.plans(self)
        self.tables = {digest: tables for digest, tables in self.tables.items() if digest in used}
        return used

    def add_plan_failure(self, digest: str, reason: str) -> None:
        """The plan cannot be had: a run of it ends as failed with this reason."""
        self.refused[digest] = reason

    def needs_image(self, event: Submit) -> str | None:
        """The hash of the image that must be added before this event is decided; None if none is missing."""
        again = event.again
        return None if again is None or again.image in self.images or self.is_known(event.run) else again.image

    def add_image(self, digest: str, data: bytes) -> None:
        """For the next rerun of it; of one that cannot be had none is added: the rerun fails, and says so."""
        self.images[digest] = data
