"""What `deploy`, `plan`, `rollback` and `undeploy` do: from sources, or from the history, to what is deployed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
import msgspec
from flowc.project import Project, find_project
from flowrun.client.world import user_name
from flowrun.deployments import committing
from flowrun.deployments.building import Built
from flowrun.deployments.changes import Change, changes_between, nothing_of
from flowrun.deployments.committing import DeploymentRefused, commit, put_blobs
from flowrun.deployments.flow_changes import with_differences
from flowrun.deployments.keeping import blobs_of
from flowrun.deployments.objections import objections
from flowrun.deployments.reading import Histories, read_history, read_manifest
from flowrun.deployments.signing import KeyProblem, SigningKey, key_bytes, key_text
from flowrun.errors import StoreError
from flowrun.manifest import Deployment, Manifest, ManifestError
from flowrun.requirements import missing
from flowrun.secrets import Resolver
from flowrun.transport import Transport

from .deploy_sources import build_project
from .deployment_answers import changed, planned
from .errors import EXIT_OK, InputError
from .files import read_file
from .output import say
from .remote import with_transport
from .server import Profile, ServerChoice, profile_of, server_of
from .showing_deployments import show_answer, show_changes

__all__ = ["Asked", "deploy", "preview", "rollback", "undeploy"]

_PROJECT_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    paths: tuple[Path, ...] = ()
    #: another project than that of this folder
    project: str = ""
    note: str = ""
    by: str = ""
    #: file of a private key; None: that of the environment, if it has one
    key: Path | None = None
    #: the project's code travels with it
    code: bool = True
    #: also what may be missing refuses it
    strict: bool = False
    #: not asked back
    yes: bool = False
    as_json: bool = False
    url: str | None
    env: str | None


class _Project(msgspec.Struct, frozen=True):
    """A project, and the environment that is meant."""

    project: Project
    profile: Profile
    server: ServerChoice


# ---- commands -------------------------------------------------------------------------------------------------------


def deploy(asked: Asked, dry_run: bool) -> int:
    """Gives the exit code. Raises InputError, FindingsError, FlowError."""
    here = _project_of(asked)
    built = build_project(here.project, asked.paths, asked.code, here.profile.connections)
    key = _key_of(asked, here.profile)

    async def work(transport: Transport) -> int:
        read = await read_history(transport, here.project.name)
        changes = await _changes(transport, read, built.manifest, built.blobs, asked.paths)
        against = await objections(transport, built.manifest)
        against += await _missing(transport, here, built.manifest, asked.strict)
        if against:
            raise InputError("\n  ".join(against), place=here.project.name, help="nothing was changed")
        if dry_run:
            return _show(planned(here.project.name, here.server.env, changes), asked)
        current = read.history.current
        if current is not None and _is_done(current, built, key):
            await put_blobs(transport, built.blobs)  # what is needed for longer is put again
            return _show(changed(here.project.name, here.server.env, "nothing", current, changes), asked)
        _confirm(asked, here, changes)
        await put_blobs(transport, built.blobs)
        order = _order(asked, here, "deploy", built.digest, key)
        made = await _committed(transport, read, order, built.manifest)
        return _show(changed(here.project.name, here.server.env, "deploy", made, changes), asked)

    return with_transport(here.server, work)


def preview(asked: Asked) -> int:
    """`flowc plan --deployed`."""
    return deploy(asked, dry_run=True)


def rollback(asked: Asked, number: int | None) -> int:
    """Makes an older manifest the current one again. Gives the exit code. Raises InputError, FlowError."""
    here = _project_of(asked)
    key = _key_of(asked, here.profile)

    async def work(transport: Transport) -> int:
        read = await read_history(transport, here.project.name)
        target = _target(read, number)
        try:
            manifest = await read_manifest(transport, target.manifest)
            blobs = await blobs_of(transport, target.manifest)
        except StoreError as error:
            help = "what was deployed long ago is not kept; check out that version of the project, and deploy it"
            raise InputError(
                f"deployment {target.number} cannot be had any more: {error}", place=here.project.name, help=help
            ) from error
        changes = await _changes(transport, read, manifest, blobs)
        for problem in await _missing(transport, here, manifest, False):
            say(f"warning: {problem}", err=True)  # who goes back is in a hurry
        _confirm(asked, here, changes)
        await put_blobs(transport, blobs)
        order = _order(asked, here, "rollback", target.manifest, key)
        made = await _committed(transport, read, order, manifest)
        return _show(changed(here.project.name, here.server.env, "rollback", made, changes, target.number), asked)

    return with_transport(here.server, work)


def undeploy(asked: Asked) -> int:
    """Nothing of the project is deployed any more. Gives the exit code. Raises InputError, FlowError."""
    here = _project_of(asked)
    key = _key_of(asked, here.profile)

    async def work(transport: Transport) -> int:
        read = await read_history(transport, here.project.name)
        if read.history.current is None or not read.history.current.manifest:
            raise InputError(f"project `{here.project.name}` is not deployed in `{here.server.env}`")
        manifest = nothing_of(here.project.name)
        changes = await _changes(transport, read, manifest, {})
        _confirm(asked, here, changes)
        made = await _committed(transport, read, _order(asked, here, "undeploy", "", key), manifest)
        return _show(changed(here.project.name, here.server.env, "undeploy", made, changes), asked)

    return with_transport(here.server, work)


# ---- the project ----------------------------------------------------------------------------------------------------


def _project_of(asked: Asked) -> _Project:
    start = asked.paths[0] if asked.paths else Path()
    if not start.exists():
        raise InputError("there is no such file", place=str(start))
    project = find_project(start)
    if asked.project:
        project = msgspec.structs.replace(project, name=asked.project)
    if not _PROJECT_NAME.fullmatch(project.name):
        help = 'give it a name of letters, digits, "_" and "-": `name` in [project] of flow.toml'
        raise InputError(f"a project named `{project.name}` cannot be deployed", place=str(project.root), help=help)
    profile = profile_of(asked.url, asked.env, project.root)
    return _Project(project, profile, server_of(asked.url, asked.env, project.root))


def _key_of(asked: Asked, profile: Profile) -> SigningKey | None:
    """Raises InputError, also where the environment's nodes would not follow what is signed so."""
    path = asked.key or profile.signing_key
    try:
        key = SigningKey.from_pem(read_file(path, "private key")) if path is not None else None
        trusted = {key_bytes(text) for text in profile.trusted}
    except KeyProblem as error:
        raise InputError(str(error), place=str(path or "flow.toml")) from error
    if trusted and (key is None or key.public not in trusted):
        whose = "nobody would sign this" if key is None else f"this would be signed by {key_text(key.public)}"
        help = "sign it with --key FILE, or `signing_key` in [env.NAME]; `flowc key show FILE` tells whose a key is"
        raise InputError(f"`{profile.env}` follows only those in `trusted`, and {whose}", place="flow.toml", help=help)
    return key


# ---- the history ----------------------------------------------------------------------------------------------------


async def _changes(
    transport: Transport, read: Histories, new: Manifest, blobs: Mapping[str, bytes], paths: Iterable[Path] = ()
) -> list[Change]:
    """Against what is deployed. Raises InputError where only some files are to be deployed, and others are."""
    current = read.history.current
    if current is None or not current.manifest:
        return changes_between(nothing_of(read.project), new)
    try:
        old = await read_manifest(transport, current.manifest)
    except (StoreError, ManifestError) as error:
        say(f"what is deployed cannot be read ({error}): all of it counts as new", err=True)
        return changes_between(nothing_of(read.project), new)
    files = {flow.file for flow in new.flows}
    left_out = [flow for flow in old.flows if paths and flow.file not in files]
    if left_out:
        some = ", ".join(f"`{flow.name}` ({flow.file})" for flow in left_out[:5])
        help = "a deployment is the whole project: deploy it without naming files"
        raise InputError(f"flows of other files are deployed: {some}", place=read.project, help=help)
    return await with_differences(transport, changes_between(old, new), old, new, blobs)


async def _missing(transport: Transport, here: _Project, manifest: Manifest, strict: bool) -> list[str]:
    """What it needs of the environment, and is not there; of what may not be there (of all, if not `strict`), a
    warning."""
    found = await missing(transport, manifest, resolver=Resolver.over(transport, here.profile.key_file))
    refusing = [one for one in found if one.sure or strict]
    for one in found:
        if one not in refusing:
            say(f"warning: {one.message}", err=True)
    return [one.message for one in refusing]


def _is_done(current: Deployment, built: Built, key: SigningKey | None) -> bool:
    """It is deployed already, and signed by us if we sign."""
    return current.manifest == built.digest and (key is None or current.key == key.public)


def _target(read: Histories, number: int | None) -> Deployment:
    """The deployment to go back to: the newest one before the current one that has another manifest."""
    current = read.history.current
    if current is None:
        raise InputError(f"project `{read.project}` was never deployed here")
    if number is None:
        before = [one for one in read.history.deployments if one.manifest and one.manifest != current.manifest]
        if not before:
            raise InputError(f"there is no earlier deployment of `{read.project}` to go back to")
        return before[-1]
    found = next((one for one in read.history.deployments if one.number == number), None)
    if found is None or not found.manifest:
        what = "was an undeploy" if found is not None else "is not in the history"
        raise InputError(f"number {number} {what}", place=read.project, help="`flowc history` shows what there is")
    if found.manifest == current.manifest:
        raise InputError(f"what number {number} deployed is what is deployed", place=read.project)
    return found


def _order(
    asked: Asked, here: _Project, action: committing.Action, manifest: str, key: SigningKey | None
) -> committing.Order:
    return committing.Order(
        env=here.server.env, manifest=manifest, action=action, by=asked.by or user_name(), note=asked.note, key=key
    )


async def _committed(transport: Transport, read: Histories, order: committing.Order, manifest: Manifest) -> Deployment:
    try:
        return await commit(transport, read, order, lambda: objections(transport, manifest))
    except DeploymentRefused as error:
        raise InputError(str(error), place=read.project) from error


def _confirm(asked: Asked, here: _Project, changes: Sequence[Change]) -> None:
    """Where the environment wants it, somebody says yes."""
    if not here.profile.confirm or asked.yes:
        return
    env = here.server.env
    if asked.as_json or not sys.stdin.isatty():
        raise InputError(f"`{env}` wants to be asked before it is changed", place="flow.toml", help="say --yes")
    show_changes(changes)
    if not click.confirm(f"change `{env}`?"):
        raise InputError("nothing was changed")


def _show(answer: msgspec.Struct, asked: Asked) -> int:
    if asked.as_json:
        say(msgspec.json.encode(answer))
    else:
        show_answer(answer)
    return EXIT_OK
