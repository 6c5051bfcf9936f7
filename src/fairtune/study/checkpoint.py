"""What a study says of keeping a training under way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fairtune.study.fields import Count, Seconds, Strict


class Checkpoint(Strict):
    """How often a training is kept, so that it goes on from there if it is interrupted."""

    updates: Count | None = Field(default=None, description="after every so many updates, instead of by the clock")
    every: Seconds | None = Field(
        default=None, validate_default=True, description='by the clock, "10min" if updates are absent too'
    )

    @field_validator("every")
    @classmethod
    def _one_of_two(cls, value: float | None, info: ValidationInfo) -> float | None:
        updates = info.data.get("updates")
        if value is not None and updates is not None:
            raise ValueError(f"stands beside updates: {updates}; keep one of the two")
        return 600.0 if value is None and updates is None else value


def _none_alone(value: Any) -> Any:
    """``none`` switches off what a mapping would describe."""
    if value == "none":
        return None
    if value is None or isinstance(value, (Mapping, Checkpoint)):
        return value
    raise ValueError("is not understood; write none, or {updates: 100}, or {every: 10min}")


MaybeCheckpoint = Annotated[Checkpoint | None, BeforeValidator(_none_alone)]
