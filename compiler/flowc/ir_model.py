"""What all models of the IR have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["Expr", "Model"]

#: an expression, as `ir` describes it
Expr = list[Any]


class Model(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
