"""Sets a variable of the environment from within a task: of its worker's server, as all that tasks ask of it."""

from __future__ import annotations

from flowc.types import JSON

from .client import SyncClient
from .errors import FlowError
from .manifest import Variable
from .parameters import ArgumentError
from .where import environment, server_url

__all__ = ["VariableRefused", "set_variable"]


class VariableRefused(FlowError):
    """Nobody declares the variable, or it has another type: another attempt would be refused, too."""


def set_variable(name: str, value: object, by: str) -> None:
    """Blocks until no run that begins later can miss it. On a server where nothing is deployed, as that of `flowc run`,
    any name and any value will do. Raises VariableRefused, Conflict, TransportError, StoreError."""
    with SyncClient(server_url(), environment()) as client:
        is_deployed = any(one.declared_by for one in client.vars())
        more = () if is_deployed else (Variable(name=name, type=JSON),)
        try:
            client.set_var(name, value, by=by, declared=more)
        except ArgumentError as error:
            raise VariableRefused(str(error)) from None
