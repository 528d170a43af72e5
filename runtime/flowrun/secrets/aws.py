"""AWS Secrets Manager. Needs the library `boto3`.

FLOW_AWS_SECRETS_PREFIX says that it is asked, and what stands before the names there ("flow/prod/", or "/" for
nothing). Region and credentials are found as by all of AWS's tools.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from .errors import SecretError

__all__ = ["AwsSecrets", "open_store"]

#: nobody waits longer for an answer, in seconds
_SECONDS = 5


def open_store() -> AwsSecrets | None:
    """None: FLOW_AWS_SECRETS_PREFIX is not set. Raises SecretError."""
    prefix = os.environ.get("FLOW_AWS_SECRETS_PREFIX")
    return AwsSecrets(prefix.lstrip("/")) if prefix else None


class AwsSecrets:
    """Of one account and region."""

    def __init__(self, prefix: str) -> None:
        """Raises SecretError."""
        self._prefix = prefix
        try:
            boto3: Any = import_module("boto3")  # an optional dependency
            botocore: Any = import_module("botocore.config")
            self._errors: Any = import_module("botocore.exceptions")
        except ModuleNotFoundError:
            raise SecretError(
                "FLOW_AWS_SECRETS_PREFIX is set, and boto3 is not installed: pip install 'flowc[aws]'"
            ) from None
        config = botocore.Config(connect_timeout=_SECONDS, read_timeout=_SECONDS, retries={"max_attempts": 2})
        try:
            self._client: Any = boto3.client("secretsmanager", config=config)
        except self._errors.BotoCoreError as error:
            raise SecretError(f"AWS Secrets Manager is not configured: {error}") from None

    def get(self, key: str) -> str | None:
        """Raises SecretError."""
        try:
            found = self._client.get_secret_value(SecretId=self._prefix + key)
        except self._errors.ClientError as error:
            code = error.response.get("Error", {}).get("Code", "an error")
            if code == "ResourceNotFoundException":
                return None
            raise SecretError(f"AWS Secrets Manager refuses the secret `{key}`: {code}") from None
        except self._errors.BotoCoreError as error:
            raise SecretError(f"AWS Secrets Manager cannot be asked: {type(error).__name__}") from None
        text: str | None = found.get("SecretString")
        if text is None:
            raise SecretError(f"AWS Secrets Manager has bytes for the secret `{key}`, and a text is needed")
        return text
