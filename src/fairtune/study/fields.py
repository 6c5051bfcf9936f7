"""Kinds of values that a study file is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fairtune.units import parse_bytes, parse_seconds

# A study and a task name folders and files, and must not lead out of them.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def no_bool(value: Any) -> Any:
    """Python takes true for 1; a study does not."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Number = Annotated[float, BeforeValidator(no_bool)]
Count = Annotated[int, BeforeValidator(no_bool), Field(ge=1)]
Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
