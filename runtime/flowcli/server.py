"""Which server and environment a command speaks to: its options, FLOW_NATS_URL and FLOW_ENV, `[node]` of flow.toml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from .errors import InputError

__all__ = ["ServerChoice", "node_table", "server_of", "server_options"]

_DEFAULT_URL = "nats://127.0.0.1:4222"


class ServerChoice(NamedTuple):
    """A server, and an environment on it."""

    url: str
    env: str


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--nats` and `--env` to a command: its parameters `url` and `env`, None where nothing was said."""
    nats = click.option("--nats", "url", metavar="URL", envvar="FLOW_NATS_URL", show_envvar=True,
                        help="The server. [default: `nats` in [node] of flow.toml, else this host's]")  # fmt: skip
    env = click.option("--env", metavar="NAME", envvar="FLOW_ENV", show_envvar=True,
                       help="Environment on the server. [default: `env` in [node] of flow.toml, else dev]")  # fmt: skip
    return nats(env(command))


def server_of(url: str | None, env: str | None, root: Path) -> ServerChoice:
    """What was chosen, or what flow.toml in this folder says, or the defaults. Raises InputError."""
    table = {} if url is not None and env is not None else node_table(root)
    return ServerChoice(url or table.get("nats") or _DEFAULT_URL, env or table.get("env") or "dev")


def node_table(root: Path) -> dict[str, Any]:
    """`[node]` of flow.toml in this folder. Raises InputError for what is wrong in it."""
    path = root / "flow.toml"
    if not path.is_file():
        return {}
    from flowc.catalog import Findings  # a folder without flow.toml does not need them
    from flowc.project_file import read_project_file

    findings = Findings()
    found = read_project_file(path, findings)
    for finding in findings.sorted():
        if finding.severity == "error":
            raise InputError(finding.message, place=str(path), help=finding.help)
    return found.node
