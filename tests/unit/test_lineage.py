"""The graph of datasets and flows, and what is told of an ended run."""

from __future__ import annotations

from flowc.plan import (
    FORMAT,
    AnySource,
    ChildNode,
    CronSource,
    DatasetSource,
    FlowSource,
    Plan,
    PlanBlock,
    StepSettings,
    TaskDef,
    TaskNode,
    TriggerDef,
)
from flowcli.showing_lineage import as_dot, as_mermaid, as_text
from flowrun.lineage import Start, Step, datasets_of, datasets_of_run, lineage_of
from flowrun.lineage_reports import StepReport, decode_reports, encode_reports, report_of
from flowrun.manifest import DatasetUse, DeployedFlow
from flowrun.messages import Failure, RunRecord, StepRecord

RAW, CLEAN, REPORT = "s3://lake/raw", "s3://lake/clean", "reports/daily"


def plan(flow: str, *nodes: TaskNode | ChildNode, children: dict[str, Plan] | None = None) -> Plan:
    return Plan(
        flow=flow, file=f"{flow}.flow", params=(), returns=None, types=(),
        settings=(StepSettings(), StepSettings(reads=(RAW,), updates=(CLEAN, REPORT)), StepSettings(reads=(CLEAN,))),
        tasks=(TaskDef(name="t", params=(), returns=None, operator="python"),),
        blocks=(PlanBlock(nodes=nodes, params=0),), children=children or {}, version=FORMAT,
    )  # fmt: skip


def step(name: str, settings: int) -> TaskNode:
    return TaskNode(name=name, task=0, args=(), settings=settings)


def call(name: str, flow: str) -> ChildNode:
    return ChildNode(name=name, flow=flow, args=(), settings=0)


def flow(name: str, *uses: DatasetUse, triggers: tuple[TriggerDef, ...] = (), **more: object) -> DeployedFlow:
    return DeployedFlow(name=name, plan="p", file="a.flow", datasets=uses, triggers=triggers, **more)  # type: ignore[arg-type]


def use(step: str, kind: str, dataset: str) -> DatasetUse:
    return DatasetUse(step=step, dataset=dataset, use=kind)  # type: ignore[arg-type]


def on(*sources: object) -> TriggerDef:
    source = sources[0] if len(sources) == 1 else AnySource(sources=sources)  # type: ignore[arg-type]
    return TriggerDef(name="fresh", source=source)  # type: ignore[arg-type]


LINEAGE = lineage_of(
    [
        flow("load", use("fetch", "reads", RAW), use("write", "updates", CLEAN)),
        flow(
            "report",
            use("draw", "reads", CLEAN),
            use("draw", "updates", REPORT),
            triggers=(on(CronSource(expression="0 6 * * *"), DatasetSource(name=CLEAN, body=0)),),
            calls=("load",),
        ),
        flow("mail", triggers=(on(FlowSource(flow="report", body=0)),)),
    ]
)


def test_a_plan_says_what_its_steps_use() -> None:
    child = plan("child", step("inner", 2))
    parent = plan("parent", step("load", 1), call("sub", "c"), step("other", 0), children={"c": child})
    uses = (use("load", "reads", RAW), use("load", "updates", CLEAN), use("load", "updates", REPORT))
    assert datasets_of(parent) == uses
    assert datasets_of_run(parent) == (*uses, use("sub.inner", "reads", CLEAN))


def test_a_flow_that_calls_itself_is_looked_at_once() -> None:
    inner = plan("inner", step("load", 2), call("again", "i"))
    outer = plan("outer", call("first", "i"), children={"i": inner})
    assert datasets_of_run(outer) == (use("first.load", "reads", CLEAN),)


def test_the_graph() -> None:
    clean = LINEAGE.dataset(CLEAN)
    assert clean is not None
    assert clean.updated_by == (Step(flow="load", step="write"),)
    assert clean.read_by == (Step(flow="report", step="draw"),)
    started = Start(trigger="report.fresh", flow="report", dataset=CLEAN)
    assert clean.starts == (started,)
    report, mail = LINEAGE.flow("report"), LINEAGE.flow("mail")
    assert report is not None
    assert mail is not None
    assert report.started_by == (started,)
    assert report.starts == mail.started_by == (Start(trigger="mail.fresh", flow="mail", after="report"),)
    assert LINEAGE.dataset("nothing") is None


def test_the_tree_of_all() -> None:
    assert as_text(LINEAGE).splitlines() == [
        "reports/daily",
        "└── updated by report.draw",
        "s3://lake/clean",
        "├── updated by load.write",
        "├── read by report.draw",
        "└── starts report (report.fresh)",
        "s3://lake/raw",
        "└── read by load.fetch",
    ]


def test_the_tree_of_a_dataset_goes_all_the_way() -> None:
    text = as_text(LINEAGE, REPORT)
    assert text.splitlines()[:6] == [
        "reports/daily  comes from",
        "└── report.draw",
        "    └── s3://lake/clean",
        "        └── load.write",
        "            └── s3://lake/raw",
        "                └── nothing that is known here",
    ]
    assert "report.draw" in as_text(LINEAGE, RAW)


def test_the_tree_of_a_flow() -> None:
    assert as_text(LINEAGE, "report").splitlines() == [
        "report  a.flow",
        "├── started by s3://lake/clean (report.fresh)",
        "├── draw",
        "│   ├── reads s3://lake/clean",
        "│   └── updates reports/daily",
        "├── calls load",
        "└── starts mail (mail.fresh)",
    ]


def test_a_ring_of_datasets_ends() -> None:
    ring = lineage_of([flow("f", use("s", "reads", RAW), use("s", "updates", RAW))])
    assert as_text(ring, RAW).count("see above") == 2


def test_nothing_says_what_to_do() -> None:
    assert "dataset(" in as_text(lineage_of([flow("f")]))


def test_graphs_for_other_programs() -> None:
    dot, mermaid = as_dot(LINEAGE), as_mermaid(LINEAGE)
    assert '"d s3://lake/raw" -> "s load.fetch";' in dot
    assert '"d s3://lake/clean" -> "f report" [label="report.fresh"];' in dot
    assert mermaid.startswith("flowchart LR\n")
    assert mermaid.count("-->") == dot.count("->") == 7
    assert as_dot(lineage_of([flow('a"b', use("s", "reads", RAW))])).count('[label="a\\"b"') == 1


# ---- what is told of a run ------------------------------------------------------------------------------------------


def record(*steps: StepRecord, state: str = "success") -> RunRecord:
    error = Failure("ValueError", "no") if state == "failed" else None
    return RunRecord("r", "f", state, b"\xc0", error, None, 1_000, 2_000, steps)  # type: ignore[arg-type]


USES = (use("fetch", "reads", RAW), use("write", "updates", CLEAN))


def test_a_report_has_the_steps_that_ran() -> None:
    report = report_of(
        record(
            StepRecord("fetch", None, "success", 1, 0.1),
            StepRecord("other", None, "success", 1, 0.1),
            StepRecord("write", None, "skipped", 0, None),
        ),
        USES,
    )
    assert report.steps == (StepReport("fetch", True, (RAW,), ()),)
    assert decode_reports(encode_reports([report])) == [report]


def test_what_failed_updates_nothing() -> None:
    report = report_of(
        record(StepRecord("write", None, "failed", 2, 0.1, Failure("ValueError", "no")), state="failed"), USES
    )
    assert report.steps == (StepReport("write", False, (), (), "no"),)
    assert (report.state, report.error) == ("failed", "no")


def test_items_are_one_step() -> None:
    items = [StepRecord("write", i, "success" if i else "failed", 1, 0.1) for i in range(3)]
    assert report_of(record(*items), USES).steps == (StepReport("write", False, (), (CLEAN,)),)
