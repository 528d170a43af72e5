"""OpenLineage events of runs, and who sends them.

A run is a job's run, with the datasets of all its steps; each step that reads or updates some is another one, whose
parent it is. Ids follow from the run's: what is sent again is the same event. Where events go the OpenLineage client
decides, by its own configuration (OPENLINEAGE_URL, OPENLINEAGE_CONFIG, openlineage.yml, OPENLINEAGE__TRANSPORT__…).

https://openlineage.io/docs/spec/object-model
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from openlineage.client import OpenLineageClient, event_v2, facet_v2
from openlineage.client.uuid import generate_static_uuid

from .lineage_reports import RunReport, StepReport
from .messages import RunState

__all__ = ["PRODUCER", "Sender", "dataset_name", "events_of"]

PRODUCER = "https://pypi.org/project/flowc"

_ENDS: dict[RunState, event_v2.RunState] = {
    "success": event_v2.RunState.COMPLETE,
    "cancelled": event_v2.RunState.ABORT,
}


class Sender:
    """An OpenLineage client. Belongs to one thread."""

    def __init__(self, namespace: str) -> None:
        """`namespace`: of jobs, and of datasets whose names say none. Raises what the client raises where its
        configuration is wrong."""
        self._namespace = namespace
        self._client = OpenLineageClient()

    def send(self, reports: Iterable[RunReport]) -> None:
        """Raises what the client's transport raises: then they may be sent again."""
        for report in reports:
            for event in events_of(report, self._namespace):
                self._client.emit(event)


def events_of(report: RunReport, namespace: str) -> Iterator[event_v2.RunEvent]:
    """The begin and the end of a run, as far as they are to be told, and of each of its steps that reads or updates
    datasets."""
    end = _ENDS.get(report.state, event_v2.RunState.FAIL)
    job = _job(namespace, report.flow, "FLOW")
    run_id = _uuid(report, "")
    facets = _run_facets(report)
    reads = list(dict.fromkeys(name for step in report.steps for name in step.reads))
    updates = list(dict.fromkeys(name for step in report.steps for name in step.updates))
    if not report.begun:
        run = event_v2.Run(runId=run_id, facets=dict(facets))
        yield _event(event_v2.RunState.START, report.started_ms, run, job, namespace, reads, [])
    if report.state == "running":
        return
    for step in report.steps:
        yield from _events_of_step(report, step, namespace, run_id)
    if report.error:
        facets["errorMessage"] = _error(report.error)
    run = event_v2.Run(runId=run_id, facets=facets)
    yield _event(end, report.ended_ms, run, job, namespace, reads, updates)


def _events_of_step(report: RunReport, step: StepReport, namespace: str, parent: str) -> Iterator[event_v2.RunEvent]:
    """A step's times are those of its run: a record says how long a step took, not when it began."""
    job = _job(namespace, f"{report.flow}.{step.step}", "STEP")
    facets: dict[str, facet_v2.RunFacet] = {
        "parent": facet_v2.parent_run.ParentRunFacet(
            run=facet_v2.parent_run.Run(runId=parent),
            job=facet_v2.parent_run.Job(namespace=namespace, name=report.flow),
            producer=PRODUCER,
        )
    }
    run_id = _uuid(report, step.step)
    run = event_v2.Run(runId=run_id, facets=dict(facets))
    yield _event(event_v2.RunState.START, report.started_ms, run, job, namespace, step.reads, ())
    if step.error:
        facets["errorMessage"] = _error(step.error)
    end = event_v2.RunState.COMPLETE if step.succeeded else event_v2.RunState.FAIL
    run = event_v2.Run(runId=run_id, facets=facets)
    yield _event(end, report.ended_ms, run, job, namespace, step.reads, step.updates)


def _event(
    state: event_v2.RunState, at_ms: int, run: event_v2.Run, job: event_v2.Job, namespace: str,
    reads: Iterable[str], updates: Iterable[str],
) -> event_v2.RunEvent:  # fmt: skip
    return event_v2.RunEvent(
        eventType=state,
        eventTime=_time(at_ms),
        run=run,
        job=job,
        producer=PRODUCER,
        inputs=[event_v2.InputDataset(*dataset_name(name, namespace)) for name in reads],
        outputs=[event_v2.OutputDataset(*dataset_name(name, namespace)) for name in updates],
    )


def dataset_name(name: str, namespace: str) -> tuple[str, str]:
    """A dataset's namespace and name: "s3://lake/sales" is "sales" in "s3://lake"; one that says no store is in that of
    the environment."""
    parts = urlsplit(name)
    if parts.scheme and parts.netloc and parts.path.strip("/"):
        return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
    return namespace, name


def _job(namespace: str, name: str, kind: str) -> event_v2.Job:
    facet = facet_v2.job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="FLOWC", jobType=kind, producer=PRODUCER
    )
    return event_v2.Job(namespace=namespace, name=name, facets={"jobType": facet})


def _run_facets(report: RunReport) -> dict[str, facet_v2.RunFacet]:
    facets: dict[str, facet_v2.RunFacet] = {
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet(
            version=_version(), name="flowc", producer=PRODUCER
        )
    }
    if report.scheduled is not None:
        facets["nominalTime"] = facet_v2.nominal_time_run.NominalTimeRunFacet(
            nominalStartTime=_time(report.scheduled.start_ms),
            nominalEndTime=_time(report.scheduled.end_ms),
            producer=PRODUCER,
        )
    return facets


def _error(message: str) -> facet_v2.RunFacet:
    return facet_v2.error_message_run.ErrorMessageRunFacet(
        message=message, programmingLanguage="flow", producer=PRODUCER
    )


def _uuid(report: RunReport, step: str) -> str:
    at = dt.datetime.fromtimestamp(report.started_ms / 1000, dt.UTC)
    return str(generate_static_uuid(at, f"{report.run}/{step}".encode()))


def _time(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _version() -> str:
    try:
        return version("flowc")
    except PackageNotFoundError:
        return "unknown"
