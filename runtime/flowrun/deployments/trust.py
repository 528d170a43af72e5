"""Whose deployments a node accepts: those that are signed with one of the keys it was told; without any, all."""

from __future__ import annotations

from collections.abc import Sequence

from flowrun.manifest import Deployment

from .signing import key_bytes, key_text, signature_holds

__all__ = ["Trust"]


class Trust:
    """`keys`: public keys as text. Raises KeyProblem for what is none."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = frozenset(map(key_bytes, keys))

    def __bool__(self) -> bool:
        """Signatures matter."""
        return bool(self._keys)

    def refuses(self, env: str, project: str, deployment: Deployment) -> str | None:
        """Why an entry of a project's history is not accepted; None: it is."""
        if not self._keys:
            return None
        what = f"deployment {deployment.number} of `{project}`"
        if not deployment.signature:
            return f"{what} is not signed, and this node trusts only signed ones: deploy with `--key FILE`"
        if deployment.key not in self._keys:
            return f"{what} is signed by {key_text(deployment.key)}, who is not among those that this node trusts"
        if not signature_holds(deployment, env, project):
            return f"the signature of {what} does not hold: the entry was changed, or belongs to another environment"
        return None
