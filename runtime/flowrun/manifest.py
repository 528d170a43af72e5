"""What a deployment of a project is: a manifest, which lies in the blob store under its content hash, and the entry
that names the current one.

The entry `deployment.<project>` holds the project's whole history. It is changed by compare-and-set, so a deployment
either happens or does not, and of two at once one is refused. Whatever a manifest names (plans, code) is stored before.
Leaders follow the entries and put a `Deployed` into the inboxes of their partitions.

Equal contents have the same manifest: what it is made of says nothing of when, by whom and from where.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from flowc.plan import ConnectionDef, Expr, LimitDef, PoolDef, TriggerDef
from flowc.types import Type

from .errors import FlowError

__all__ = [
    "KEY", "DatasetUse", "DeployedFlow", "Deployment", "History", "Manifest", "ManifestError", "Variable",
    "decode_history", "decode_manifest", "encode_history", "encode_manifest", "key_of", "plans_of", "project_of",
]  # fmt: skip

#: version of the format; a runtime accepts its own and the previous one
FORMAT = 1
#: what the keys of all entries begin with, before a dot
KEY = "deployment"


class ManifestError(FlowError):
    """A manifest, or the history of a project, cannot be used."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Data of a deployment."""


class DatasetUse(_Data, frozen=True, kw_only=True):
    """A step reads or updates a dataset."""

    step: str
    dataset: str
    use: Literal["reads", "updates"]


class DeployedFlow(_Data, frozen=True, kw_only=True):
    name: str
    #: content hash of its plan
    plan: str
    #: where it is declared, relative to the project's root
    file: str = ""
    triggers: tuple[TriggerDef, ...] = ()
    #: types of the bodies of their events: `TriggerSource.body` is an index in it, as in Plan.types
    types: tuple[Type, ...] = ()
    catchup: bool = False
    depends_on_past: bool = False
    datasets: tuple[DatasetUse, ...] = ()
    #: flows that it calls
    calls: tuple[str, ...] = ()
    #: content hash of its plan without its code: what it does, whatever the code does
    logic: str = ""
    #: "trigger/place" of a custom schedule -> content hash of the plan that works out its times
    schedules: dict[str, str] = {}


class Variable(_Data, frozen=True, kw_only=True):
    name: str
    type: Type
    default: Expr | None = None


class Manifest(_Data, frozen=True, kw_only=True):
    """All that is deployed of one project."""

    #: as FORMAT was when it was made
    format: int = 1
    project: str
    #: by name, in order
    flows: tuple[DeployedFlow, ...]
    pools: tuple[PoolDef, ...] = ()
    limits: tuple[LimitDef, ...] = ()
    connections: tuple[ConnectionDef, ...] = ()
    variables: tuple[Variable, ...] = ()
    #: keys of the secrets that it needs
    secrets: tuple[str, ...] = ()
    #: content hash of its code; "": none was packed
    code: str = ""


class Deployment(_Data, frozen=True, kw_only=True):
    """One entry of a project's history."""

    #: from 1
    number: int
    #: content hash of the manifest; "": the project was undeployed
    manifest: str
    at_ms: int
    action: Literal["deploy", "rollback", "undeploy"] = "deploy"
    #: who did it, as they call themselves, and why
    by: str = ""
    note: str = ""
    #: ed25519: the signer's public key and the signature over the manifest's hash, the project and the number
    key: bytes = b""
    signature: bytes = b""


class History(_Data, frozen=True, kw_only=True):
    """Content of the entry: the newest last, the oldest of many dropped."""

    deployments: tuple[Deployment, ...] = ()

    @property
    def current(self) -> Deployment | None:
        return self.deployments[-1] if self.deployments else None


def key_of(project: str) -> str:
    """The entry's key."""
    return f"{KEY}.{project}"


def project_of(key: str) -> str:
    """The project of an entry's key."""
    return key.removeprefix(f"{KEY}.")


def plans_of(manifest: Manifest) -> set[str]:
    """Content hashes of all plans that it names."""
    return {plan for flow in manifest.flows for plan in (flow.plan, *flow.schedules.values())}


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_manifest_decoder = msgspec.msgpack.Decoder(Manifest)
_history_decoder = msgspec.msgpack.Decoder(History)


class _Header(msgspec.Struct):
    format: int = 1


_header_decoder = msgspec.msgpack.Decoder(_Header)


def encode_manifest(manifest: Manifest) -> bytes:
    """Its canonical bytes: the same for the same manifest. Their `plan.digest` is its content hash."""
    return _encoder.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """A manifest from its canonical bytes. Raises ManifestError."""
    try:
        format = _header_decoder.decode(data).format
        if format > FORMAT:
            raise ManifestError(
                f"the manifest has format {format}, and this version reads up to {FORMAT}: upgrade flowc here"
            )
        return _manifest_decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ManifestError(f"the manifest is damaged ({error}): deploy the project again") from error


def encode_history(history: History) -> bytes:
    return _encoder.encode(history)


def decode_history(data: bytes) -> History:
    """The history in an entry; of one that was removed (b""), an empty one. Raises ManifestError."""
    if not data:
        return History()
    try:
        return _history_decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ManifestError(f"the history of the project's deployments is damaged ({error})") from error
