"""``tune:`` of a study: what is searched, in how many trials, and what a run says of it afterwards. No Optuna here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fairtune.errors import Problem
from fairtune.study.fields import Count, Strict, no_bool
from fairtune.study.problems import problems_of

TUNE = "tune"
"""Key of a study, and of a method that searches other values than the study says."""

TRIALS = 8
"""Of each method, where the study does not say and there is no grid to be counted."""

MOST = 10_000
"""Combinations of listed values; all are checked when the study is read."""

Sampler = Literal["grid", "random", "tpe"]
End = Annotated[int | float, BeforeValidator(no_bool)]


class Range(Strict):
    """Numbers between two ends, both possible. Two whole ends mean whole numbers."""

    low: End
    high: End
    log: bool = Field(default=False, description="draw by orders of magnitude, as rates want it")

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> int | None:
        """Different values; None where there is no end of them."""
        return int(self.high) - int(self.low) + 1 if self.whole else None


Choices = tuple[Any, ...]
Space = Mapping[str, Choices | Range]
"""What is searched, by key."""


class Tune(BaseModel):
    """Every method that trains gets the same number of trials, chosen among by validation loss.

    Further keys are those of ``training`` and options of methods, each with a list of choices or a range.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    trials: Count | None = Field(
        default=None, description=f"of each method; all points of the largest grid if absent, {TRIALS} without a grid"
    )
    sampler: Sampler | None = Field(
        default=None, description="grid · random · tpe; a grid if absent, tpe where there is a range"
    )

    @property
    def searched(self) -> dict[str, Any]:
        """Everything but the two keys of its own, as written."""
        return dict(self.model_extra or {})


class Trial(Strict):
    """Which attempt at good options a run is. It is trained and validated; nothing of the test part is scored."""

    number: Count = Field(description="from 1")
    of: Count = Field(description="trials that the method gets")
    method: str = Field(description="label of the method that is tuned")
    sampler: Sampler
    values: dict[str, Any] = Field(description="what this trial tries")
    limits: tuple[float | None, ...] = Field(
        default=(),
        description="median validation loss of earlier trials after each epoch; above it the trial ends",
    )

    @property
    def told(self) -> str:
        """``trial 3 of 8: learning_rate=0.0001 rank=8``."""
        return f"trial {self.number} of {self.of}: {shown_values(self.values)}"


class Chances(Strict):
    """How the options of a run were found: the chances its method had."""

    sampler: Sampler
    asked: Count = Field(description="trials that the study gives each method")
    possible: int | None = Field(description="different combinations that the method has; None where there is no end")
    trials: int = Field(description="trials that were made")
    pruned: int = Field(default=0, description="of these, ended early since others were better after as many epochs")
    failed: int = Field(default=0, description="of these, without a validation loss; why is in their records")
    runs: tuple[str, ...] = Field(default=(), description="run ids of the trials, in order")
    space: dict[str, Range | tuple[Any, ...]] = Field(description="what was searched")
    chosen: dict[str, Any] | None = Field(default=None, description="None where trials are missing, or all failed")
    validation_loss: float | None = Field(default=None, description="of the chosen trial, nats per supervised token")

    @property
    def due(self) -> int:
        """Trials that there are to be."""
        return self.asked if self.possible is None else min(self.asked, self.possible)

    @property
    def open(self) -> str | None:
        """Why nothing is chosen; None where something is."""
        if self.chosen is not None:
            return None
        if self.trials < self.due:
            return f"waits for {self.due - self.trials} of {self.due} trials"
        return f"all {self.trials} trials failed; `fairtune status` says why" if self.trials > 1 else "its trial failed"


def parse_space(raw: Any, path: str) -> tuple[dict[str, Choices | Range], list[Problem]]:
    """What is searched, as written under ``path``, and everything wrong with it."""
    if not isinstance(raw, Mapping):
        return {}, [Problem(path, f"{raw!r}: keys with what to search are needed: {{learning_rate: [1e-5, 1e-4]}}")]
    space: dict[str, Choices | Range] = {}
    problems: list[Problem] = []
    for key, value in raw.items():
        where = f"{path}.{key}"
        if isinstance(value, list) and value:
            space[str(key)] = _each_once(value)
        elif isinstance(value, dict):
            try:
                space[str(key)] = Range.model_validate(value)
            except ValidationError as error:
                problems += problems_of(error, Range, where)
        else:
            told = "is an empty list" if value == [] else f"{value!r} is no list"
            problems.append(Problem(where, f"{told}; give choices, [1, 2, 4], or a range, {{low: 1, high: 4}}"))
    return space, problems


def _each_once(values: Sequence[Any]) -> Choices:
    """``true`` is not 1; ``8`` and ``8.0`` are one."""
    found: list[Any] = []
    for value in values:
        if not any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in found):
            found.append(value)
    return tuple(found)


def possible(space: Space) -> int | None:
    """Different combinations; None where there is no end of them."""
    sizes = [values.size if isinstance(values, Range) else len(values) for values in space.values()]
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def corners(space: Space, ignored: frozenset[str] = frozenset()) -> Iterator[dict[str, Any]]:
    """Every combination of listed values and of the ends of ranges; of what is ignored the first value alone."""
    axes = {
        key: [values.low, values.high] if isinstance(values, Range) else list(values) for key, values in space.items()
    }
    axes = {key: values[:1] if key in ignored else values for key, values in axes.items()}
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def shown_value(value: Any) -> str:
    """As tables write it."""
    if isinstance(value, float):
        return f"{value:g}"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def shown_values(values: Mapping[str, Any]) -> str:
    """``learning_rate=0.0001 rank=8``."""
    return " ".join(f"{key}={shown_value(value)}" for key, value in values.items())
