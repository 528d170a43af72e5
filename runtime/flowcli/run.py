"""`flowc run`: runs a flow and shows it live."""

from __future__ import annotations

from pathlib import Path

import click

from .output import run_command

__all__ = ["command"]


@click.command("run")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--flow", "flow", metavar="NAME", help="The flow to run, if there are several.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE",
              help="A parameter; lists and records as JSON, @FILE for JSON from a file.")  # fmt: skip
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE",
              help="A variable, for this run only; also FLOW_VAR_NAME. [default: the environment's]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the ended run as JSON, and nothing else.")
@click.option("--nats", "url", metavar="URL", envvar="FLOW_NATS_URL", show_envvar=True,
              help="Use this server instead of an own one.")  # fmt: skip
@click.option("--resume", metavar="RUN", help="Go on with a run whose process was killed (`last`: the latest).")
@click.option("--rerun", metavar="RUN",
              help="Go on with a run that ended (`last`: the latest): what ended well keeps its results. With FILE, "
              "under the plan that it has now.")  # fmt: skip
@click.option("--from", "steps", multiple=True, metavar="STEP", help="With --rerun: run this step, too, and all after.")
@click.option("--env", default="dev", show_default=True, metavar="NAME", help="Environment on the server.")
@click.option("--slots", type=click.IntRange(1, 1024), metavar="N",
              help="Tasks that run at the same time. [default: one per core]")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Print the result only.")
def command(
    file: Path | None,
    flow: str | None,
    params: tuple[str, ...],
    variables: tuple[str, ...],
    as_json: bool,
    url: str | None,
    resume: str | None,
    rerun: str | None,
    steps: tuple[str, ...],
    env: str,
    slots: int | None,
    quiet: bool,
) -> int:
    """Run a flow and show it live.

    FILE is a .flow file or a compiled .flowplan; without one, the project's main flow (the folder of flow.toml).
    A server is started under .flow/ unless --nats names one. Exit codes: 0 success, 1 the run failed, 2 the input is
    wrong, 130 interrupted. Ctrl-C cancels the run, twice kills it.
    """
    from flowrun.worker.launch import launch_worker

    worker = launch_worker()  # it starts while this process imports the runtime
    from .session import Order, run_order

    order = Order(
        file=file, flow=flow, params=params, resume=resume, url=url, env=env, slots=slots,
        output="json" if as_json else "quiet" if quiet else "screen", rerun=rerun, steps=steps,
        variables=variables,
    )  # fmt: skip
    return run_command(lambda: run_order(order, worker), as_json)
