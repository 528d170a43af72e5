"""`flowc trigger`: what starts deployed flows by itself."""

from __future__ import annotations

import click

from .output import run_command
from .server import server_options

__all__ = ["command"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("trigger")
def command() -> None:
    """Show, pause and resume the triggers of deployed flows.

    A trigger is named FLOW.TRIGGER, as its flow declares it; where a flow has only one, the flow's name will do.
    """


@command.command("list")
@click.argument("flow", required=False, default="")
@click.option("--limit", default=1_000, type=click.IntRange(1, 100_000), show_default=True, metavar="N",
              help="At most so many.")  # fmt: skip
@_JSON
@server_options
def list_(flow: str, limit: int, as_json: bool, url: str | None, env: str | None) -> int:
    """Show all triggers, or those of FLOW: when each ticks next, ticked last, and what it missed.

    Exit codes: 0, or 2 if the server does not answer.
    """

    def work() -> int:
        from .triggers import list_triggers  # start-up time: it imports the runtime, as below

        return list_triggers(flow, limit, url, env, as_json)

    return run_command(work, as_json)


@command.command("show")
@click.argument("name", metavar="TRIGGER")
@_JSON
@server_options
def show(name: str, as_json: bool, url: str | None, env: str | None) -> int:
    """Show TRIGGER, its last runs, and what it refused.

    Exit codes: 0, or 2 if there is no such trigger or nobody answers.
    """

    def work() -> int:
        from .triggers import show_trigger

        return show_trigger(name, url, env, as_json)

    return run_command(work, as_json)


def _pausing(name: str, help: str) -> click.Command:
    @click.command(name, help=help)
    @click.argument("trigger", metavar="TRIGGER")
    @click.option("--note", default="", metavar="TEXT", help="Why; `flowc trigger show` tells it.")
    @click.option("--by", default="", metavar="NAME", help="Who does it. [default: the user of this process]")
    @_JSON
    @server_options
    def pausing(trigger: str, note: str, by: str, as_json: bool, url: str | None, env: str | None) -> int:
        def work() -> int:
            from .triggers import pause_or_resume

            return pause_or_resume(trigger, name == "pause", note, by, url, env, as_json)

        return run_command(work, as_json)

    return pausing


command.add_command(
    _pausing(
        "pause",
        "Let TRIGGER start nothing until `flowc trigger resume`; runs go on. Meanwhile messages on NATS and files "
        "wait, webhooks are answered 503, and what `flowc emit` says is dropped. Exit codes: 0 it is paused, 2 if "
        "there is no such trigger or nobody answers.",
    )
)
command.add_command(
    _pausing(
        "resume",
        "Let TRIGGER start runs again. Times that went by while it was paused are treated as `missed` says: the last "
        "one starts a run, all do, or none. Exit codes: 0 it goes on, 2 if there is no such trigger or nobody answers.",
    )
)
