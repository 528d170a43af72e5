"""The entry point: `flowc COMMAND`. Commands are imported when they are asked for, so that `--help` is quick.

Whatever goes wrong ends here: wrong input as one message and exit code 2, an interrupt as 130, and a bug as one line
that names the file with its traceback.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pathlib import Path

import click

from .errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_OK, InputError
from .output import open_standard_files, say

__all__ = ["cli", "main", "run"]

#: the module of each command is `flowcli.<name>`; the line is what `flowc --help` says
_COMMANDS = {
    "compile": "Check .flow files and write their plans.",
    "run": "Run a flow and show it live.",
    "submit": "Hand a flow to the nodes of an environment.",
    "ps": "Show what runs, or how a run stands.",
    "logs": "Show what the tasks of a run wrote.",
    "cancel": "Ask for the end of a run, or of a part of it.",
    "signal": "Send a signal into a run.",
    "emit": "Tell runs that wait for it that something happened.",
    "approvals": "Show what waits for somebody's approval.",
    "approve": "Approve what a step waits for.",
    "reject": "Reject what a step waits for.",
    "pause": "Pause a run, or all runs of a flow.",
    "resume": "Let a paused run or flow go on.",
    "mark": "End a step of a run by hand.",
    "rerun": "Go on with an ended run, from what failed or from a step.",
    "backfill": "Run a deployed flow for the windows of its past.",
    "lineage": "Show which steps read and update which datasets.",
    "sla": "Show which service levels were met and missed.",
    "trigger": "Show, pause and resume what starts flows by itself.",
    "nodes": "Show who works for an environment.",
    "deploy": "Deploy the project to an environment.",
    "plan": "Show what a deployment would change.",
    "rollback": "Go back to an earlier deployment.",
    "history": "Show the deployments of the project.",
    "undeploy": "Take the project out of an environment.",
    "deployments": "Show what is deployed in an environment.",
    "key": "Make and show keys that deployments are signed with.",
    "var": "Show and set the variables that flows read.",
    "secret": "Set, replace and remove secrets.",
    "connection": "Show, set and test connections.",
    "explain": "Explain a finding of the compiler.",
    "node": "Run a node: lead partitions, execute work.",
}


class _Commands(click.Group):
    """Knows the commands by name, and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"flowcli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            ctx.fail(f"No such command {name!r}.{_hint(name)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _hint(name: str) -> str:
    if name.endswith((".flow", ".flowplan")):
        return f" To run a file: flowc run {name}"
    from difflib import get_close_matches  # only a mistake pays for it

    close = get_close_matches(name, _COMMANDS, 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version  # slow, and only needed here

        say(f"flowc {version('flowc')}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
def cli() -> None:
    """A workflow language that is checked before it runs, and its runtime on NATS JetStream."""


def main() -> None:
    """Runs the command line and ends the process with its code, at once: what the interpreter tidies up at its end
    takes it 40 ms, and nothing of it is ours."""
    open_standard_files()
    gc.disable()  # nothing of what is imported is garbage; a long run enables it again
    code = run(sys.argv[1:])
    os._exit(code)  # `say` leaves nothing in a buffer


def run(args: list[str]) -> int:
    """Runs a command of this process; gives its exit code."""
    try:
        result = cli.main(args, prog_name="flowc", standalone_mode=False)
    except InputError as error:
        say(error.text(), err=True)
        return EXIT_INPUT
    except click.ClickException as error:
        error.show()
        return EXIT_INPUT
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted", err=True)
        return EXIT_INTERRUPTED
    except Exception as error:
        say(_report(error), err=True)
        return EXIT_INTERNAL
    return result if isinstance(result, int) else EXIT_OK


def _report(error: Exception) -> str:
    """What is said of a bug; the traceback goes to a file beside the runs, or to a temporary one."""
    import tempfile  # only a bug pays for them
    import traceback

    text = "".join(traceback.format_exception(error))
    folder = Path(".flow") if Path(".flow").is_dir() else Path(tempfile.gettempdir())
    path = folder / "crash.log"
    try:
        path.write_text(text, encoding="utf-8")
        where = f"its traceback is in {path}"
    except OSError:
        where = text
    first = str(error).splitlines()[0] if str(error) else ""
    return f"internal error: {type(error).__name__}: {first}\n  this is a bug in flowc; {where}"
