"""Reads `flow.toml`: its tables as data, and what is wrong with them as findings.

[project]
name = "shop"              # by default the folder's name
sources = ["."]            # files and folders with .flow files
main = "nightly"           # the flow that `flowc run` starts
python = ["."]             # folders from which Python modules are imported

[defaults]                 # settings of every task, checked like settings in a .flow file
retry = { max = 2 }

[node]                     # of `flowc node` and of the commands that speak to nodes; options and FLOW_… win
nats = "nats://host:4222"
env = "dev"
roles = ["leader", "worker"]
queues = ["default"]
slots = "2..8"             # items at the same time: a number, or bounds between which it is scaled
http = "127.0.0.1:8080"    # webhooks are taken there
trusted = ["ed25519:…"]    # whose deployments it accepts; without it, all
key_file = "/etc/flow/key" # keys that secrets are sealed with, relative to this file

[env.production]           # what `--env production` stands for; it wins over [node]
nats = "nats://host:4222"
env = "production"         # by default the table's name
trusted = ["ed25519:…"]
signing_key = "deploy.pem" # a private key that deployments are signed with, relative to this file
key_file = "/etc/flow/key"
confirm = true             # `flowc deploy` and the like ask before they change it

[env.production.connection.db]   # fields of connections that are other there
host = "db.example"
password = { secret = "production.db" }
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from .catalog import Findings
from .source import Source, Span
from .suggest import did_you_mean

__all__ = ["FILE_NAME", "ProjectFile", "key_span", "os_problem", "read_project_file"]

FILE_NAME = "flow.toml"

_KEYS: dict[str, tuple[type, ...]] = {"name": (str,), "sources": (list,), "main": (str,), "python": (list,)}
_NODE_KEYS: dict[str, tuple[type, ...]] = {
    "nats": (str,), "env": (str,), "name": (str,), "roles": (list,), "queues": (list,), "slots": (int, str),
    "async_slots": (int,), "thread_slots": (int,), "grace": (int,), "log": (str,), "log_level": (str,),
    "http": (str,),
    "trusted": (list,), "key_file": (str,),
}  # fmt: skip
_ENV_KEYS: dict[str, tuple[type, ...]] = {
    "nats": (str,), "env": (str,), "trusted": (list,), "signing_key": (str,), "confirm": (bool,), "key_file": (str,),
    "connection": (dict,),
}  # fmt: skip
_TABLES = ("project", "defaults", "node", "env")
_KINDS: dict[type, str] = {str: "a string", list: "a list of strings", int: "a number", bool: "a boolean",
                            dict: "a table"}  # fmt: skip
_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow.toml says; the defaults where it says nothing, or nothing that can be used."""

    name: str | None = None
    sources: tuple[str, ...] = (".",)
    main: str | None = None
    python: tuple[str, ...] = (".",)
    #: the `[defaults]` table as TOML gives it
    defaults: dict[str, object] = {}
    #: the `[node]` table: its keys that can be used
    node: dict[str, Any] = {}
    #: the `[env.NAME]` tables, in the same way
    environments: dict[str, dict[str, Any]] = {}
    #: its text, if it could be read
    file: Source | None = None


def read_project_file(path: Path, findings: Findings) -> ProjectFile:
    """Reads and checks a flow.toml."""
    try:
        file = Source(FILE_NAME, path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        findings.add("bad-toml", Span(FILE_NAME, 0, 0), problem=os_problem(error))
        return ProjectFile()
    try:
        tables = tomllib.loads(file.text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problem, span = _toml_error(str(error), file)
        findings.add("bad-toml", span, problem=problem)
        return ProjectFile(file=file)
    for table in tables:
        _check_table(table, tables[table], file, findings)
    known = {name: table for name, table in tables.items() if isinstance(table, dict)}
    checked = _checked_keys("project", _KEYS, known.get("project", {}), file, findings)
    node = _checked_keys("node", _NODE_KEYS, known.get("node", {}), file, findings)
    more = {"node": node, "environments": _environments(known.get("env", {}), file, findings)}
    return msgspec.convert({**checked, **more, "defaults": known.get("defaults", {}), "file": file}, ProjectFile)


def _environments(tables: dict[str, Any], file: Source, findings: Findings) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        if isinstance(table, dict):
            found[name] = _checked_keys(f"env.{name}", _ENV_KEYS, table, file, findings)
        else:
            hint = f"the table of an environment has a name: `[env.{name}]`"
            findings.add("unknown-project-key", key_span(file, "env", name), key=name, where=" in `[env]`", hint=hint)
    return found


def key_span(file: Source | None, table: str, key: str) -> Span:
    """The place of a key of a table (of the table's own header with `table` "") in flow.toml, found by its text."""
    if file is None:
        return Span(FILE_NAME, 0, 0)
    name = rf"[\"']?{re.escape(key)}[\"']?"
    header = re.search(rf"^[ \t]*\[+[ \t]*{re.escape(table)}[ \t]*\]", file.text, re.MULTILINE) if table else None
    wanted = rf"^[ \t]*(?P<key>{name})[ \t]*[.=]" if table else rf"^[ \t]*(?:\[+[ \t]*)?(?P<key>{name})[ \t]*[\].=]"
    found = re.compile(wanted, re.MULTILINE).search(file.text, header.end() if header else 0)
    return file.span(*found.span("key")) if found else file.span(0, 0)


def os_problem(error: OSError | ValueError) -> str:
    """What is wrong with a file, in a few words."""
    match error:
        case UnicodeDecodeError():
            return f"it is not UTF-8 text (byte {error.start})"
        case ValueError():
            return str(error)
        case FileNotFoundError():
            return "there is no such file"
        case PermissionError():
            return "permission denied"
    return error.strerror or str(error)


def _toml_error(message: str, file: Source) -> tuple[str, Span]:
    """tomllib's message without its place, and the place."""
    place = _PLACE.search(message)
    text = _PLACE.sub("", message)
    if place is not None and place[1] is not None:
        at = sum(len(line) for line in file.text.splitlines(keepends=True)[: int(place[1]) - 1]) + int(place[2]) - 1
    else:
        at = len(file.text.rstrip())
    return text[:1].lower() + text[1:], file.span(at, min(at + 1, len(file.text)))


def _check_table(name: str, value: object, file: Source, findings: Findings) -> None:
    if name not in _TABLES:
        hint = did_you_mean(name, _TABLES, "the tables are `[project]`, `[defaults]`, `[node]` and `[env.NAME]`")
        findings.add("unknown-project-key", key_span(file, "", name), key=name, where="", hint=hint)
    elif not isinstance(value, dict):
        _report_value(findings, key_span(file, "", name), name, "a table", value)


def _checked_keys(
    name: str, keys: dict[str, tuple[type, ...]], table: dict[str, Any], file: Source, findings: Findings
) -> dict[str, Any]:
    """The keys of a table whose values can be used; the others are reported."""
    checked: dict[str, Any] = {}
    for key, value in table.items():
        span = key_span(file, name, key)
        wanted = keys.get(key)
        if wanted is None:
            hint = did_you_mean(key, keys, "the keys are " + ", ".join(f"`{known}`" for known in keys))
            findings.add("unknown-project-key", span, key=key, where=f" in `[{name}]`", hint=hint)
        elif type(value) not in wanted or (isinstance(value, list) and not _is_texts(value)):
            _report_value(findings, span, key, _KINDS[wanted[0]], value)
        else:
            checked[key] = value
    return checked


def _is_texts(value: list[Any]) -> bool:
    return all(isinstance(item, str) for item in value)


def _report_value(findings: Findings, span: Span, key: str, wanted: str, value: object) -> None:
    got = {dict: "a table", list: "a list", bool: "a boolean", str: "a string"}.get(type(value), "a number")
    example = {
        "a string": f'{key} = "…"',
        "a list of strings": f'{key} = ["…"]',
        "a number": f"{key} = 4",
        "a boolean": f"{key} = true",
        "a table": f"[{key}]",
    }[wanted]
    findings.add("bad-project-value", span, key=key, wanted=wanted, got=got, hint=f"write `{example}`")
