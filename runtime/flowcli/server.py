"""Which server and environment a command speaks to: its options, FLOW_NATS_URL and FLOW_ENV, `[env.NAME]` and `[node]`
of flow.toml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from .errors import InputError

__all__ = ["Profile", "ServerChoice", "node_table", "profile_of", "server_of", "server_options"]

_DEFAULT_URL = "nats://127.0.0.1:4222"
_DEFAULT_ENV = "dev"


class ServerChoice(NamedTuple):
    """A server, and an environment on it."""

    url: str
    env: str


class Profile(NamedTuple):
    """What flow.toml says of an environment."""

    #: None: nobody said which
    url: str | None
    env: str
    #: whose deployments are accepted, public keys; empty: all are
    trusted: tuple[str, ...] = ()
    #: file of the private key that deployments are signed with
    signing_key: Path | None = None
    #: who changes it is asked before
    confirm: bool = False
    #: file of the keys that secrets are sealed with; "": it says nothing of one
    key_file: str = ""
    #: fields of connections that are other than the files have them, by connection
    connections: Mapping[str, Any] = MappingProxyType({})


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--nats` and `--env` to a command: its parameters `url` and `env`, None where nothing was said."""
    nats = click.option("--nats", "url", metavar="URL", envvar="FLOW_NATS_URL", show_envvar=True,
                        help="The server. [default: the environment's in flow.toml, else this host's]")  # fmt: skip
    env = click.option("--env", metavar="NAME", envvar="FLOW_ENV", show_envvar=True,
                       help="Environment, as flow.toml has it. [default: `env` in its [node], else dev]")  # fmt: skip
    return nats(env(command))


def server_of(url: str | None, env: str | None, root: Path) -> ServerChoice:
    """What was chosen, or what flow.toml in this folder says, or the defaults. Raises InputError."""
    found = profile_of(url, env, root)
    return ServerChoice(found.url or _DEFAULT_URL, found.env)


def profile_of(url: str | None, env: str | None, root: Path) -> Profile:
    """The environment that was chosen, as flow.toml in this folder has it. Raises InputError, also for a name that
    flow.toml does not know where it has environments: a misspelt one would be another, empty one."""
    node, environments = _tables(root)
    named = env or node.get("env")
    table = environments.get(named or _DEFAULT_ENV)
    if table is None and env is not None and environments and env not in (node.get("env"), _DEFAULT_ENV):
        close = get_close_matches(env, environments, 1)
        known = f"did you mean `{close[0]}`? " if close else ""
        help = f"{known}flow.toml has {', '.join(f'`[env.{name}]`' for name in sorted(environments))}"
        raise InputError(f"flow.toml has no environment `{env}`", place=str(root / "flow.toml"), help=help)
    table = table or {}
    signing_key, key_file = table.get("signing_key"), table.get("key_file") or node.get("key_file")
    return Profile(
        url=url or table.get("nats") or node.get("nats"),
        env=table.get("env") or named or _DEFAULT_ENV,
        trusted=tuple(table.get("trusted") or node.get("trusted") or ()),
        signing_key=None if signing_key is None else root / signing_key,
        confirm=bool(table.get("confirm")),
        key_file="" if key_file is None else str(root / key_file),
        connections=table.get("connection", {}),
    )


def node_table(root: Path) -> dict[str, Any]:
    """`[node]` of flow.toml in this folder. Raises InputError for what is wrong in it."""
    return _tables(root)[0]


def _tables(root: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """`[node]`, and the tables of environments."""
    path = root / "flow.toml"
    if not path.is_file():
        return {}, {}
    from flowc.catalog import Findings  # a folder without flow.toml does not need them
    from flowc.project_file import read_project_file

    findings = Findings()
    found = read_project_file(path, findings)
    for finding in findings.sorted():
        if finding.severity == "error":
            raise InputError(finding.message, place=str(path), help=finding.help)
    return found.node, found.environments
