"""`flowc submit`: hands a flow to the nodes of an environment."""

from __future__ import annotations

from pathlib import Path

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]


@click.command("submit")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--flow", "flow", metavar="NAME", help="The flow to submit, if there are several.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE",
              help="A parameter; lists and records as JSON, @FILE for JSON from a file.")  # fmt: skip
@click.option("--key", metavar="TEXT", help="The same key is the same run, however often it is submitted.")
@click.option("--at", metavar="TIME", help="Not before this time: 2026-01-31T10:00 (of this host), or with an offset.")
@click.option("--delay", metavar="DURATION", help="Not before so long from now: 90s, 1h30m.")
@click.option("--expires", metavar="DURATION", help="Not begun so long after it might have, it ends as expired.")
@click.option(
    "--priority", type=click.IntRange(0, 9), metavar="0-9", help="9 first; of steps that set none themselves."
)
@click.option("--wait", is_flag=True, help="Show the run live until it ends, as `flowc run` does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the run, or with --wait the ended run.")
@click.option("--quiet", "-q", is_flag=True, help="Print the run's id only; with --wait the result only.")
@server_options
def command(
    file: Path | None,
    flow: str | None,
    params: tuple[str, ...],
    key: str | None,
    at: str | None,
    delay: str | None,
    expires: str | None,
    priority: int | None,
    wait: bool,
    as_json: bool,
    quiet: bool,
    url: str | None,
    env: str | None,
) -> int:
    """Hand a flow to the nodes of an environment (`flowc node`), and print its run's id.

    FILE is a .flow file, a compiled .flowplan, or the name of a flow that is deployed there; without one, the main flow
    of the project as it is here. Exit codes: 0 the server has it (with --wait: success), 1 the run failed, 2 the input
    is wrong or the server does not answer.
    """

    def work() -> int:
        from .submitting import Submission, submit  # start-up time: it imports the runtime

        options = {"key": key, "at": at, "delay": delay, "expires": expires, "priority": priority}
        submission = Submission(
            file=file, flow=flow, params=params, options={name: x for name, x in options.items() if x is not None},
            wait=wait, output="json" if as_json else "quiet" if quiet else "screen", url=url, env=env,
        )  # fmt: skip
        return submit(submission)

    return run_command(work, as_json)
