"""The engine: `decide`, pure and synchronous. See `engine` for the fold, `commands` for what it asks for."""

from __future__ import annotations

from .commands import Changed, ClearTimer, Command, EndRun, PutBlob, Ready, Revoke, Send, SetTimer
from .engine import Engine

__all__ = ["Changed", "ClearTimer", "Command", "EndRun", "Engine", "PutBlob", "Ready", "Revoke", "Send", "SetTimer"]
