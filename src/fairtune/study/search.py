"""One method on one model that is tuned: its trials, and the runs that follow from what they choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairtune.study.run_ids import run_id
from fairtune.study.spec import RunSpec
from fairtune.study.tune import Chances, Sampler, Space, Trial, corners, possible, shown_values

Refine = Callable[[RunSpec, Mapping[str, Any]], RunSpec]
"""A run with these values in the place of what is searched."""


@dataclass(frozen=True)
class Search:
    """A cell of a study whose options trials decide.

    Attributes:
        drafts: its final runs, one a seed, of which it is open what they are; see :attr:`Chances.open`.
        asked: trials that the study gives every method.
    """

    drafts: tuple[RunSpec, ...]
    space: Space
    sampler: Sampler
    asked: int
    refine: Refine

    @classmethod
    def of(cls, drafts: list[RunSpec], space: Space, sampler: Sampler, asked: int, refine: Refine) -> Search:
        """A search that has not begun.

        Args:
            drafts: runs without ids.
        """
        chances = Chances(sampler=sampler, asked=asked, possible=possible(space), trials=0, space=dict(space))
        opened = (draft.model_copy(update={"tuned": chances}) for draft in drafts)
        return cls(tuple(_named(draft) for draft in opened), space, sampler, asked, refine)

    @property
    def first(self) -> RunSpec:
        """The run of the study's first seed, which is that of all trials."""
        return self.drafts[0]

    @property
    def trials(self) -> int:
        """Trials that it gets: as many as all others, or all combinations if it has fewer."""
        every = possible(self.space)
        return self.asked if every is None else min(self.asked, every)

    def trial(self, number: int, values: Mapping[str, Any], limits: tuple[float | None, ...] = ()) -> RunSpec:
        """What a trial is asked: to train, and to be validated.

        Args:
            number: from 1.
            limits: see :class:`Trial`.
        """
        trial = Trial(
            number=number,
            of=self.trials,
            method=self.first.method.label,
            sampler=self.sampler,
            values=dict(values),
            limits=limits,
        )
        changes = {"trial": trial, "tuned": None, "metrics": (), "benchmarks": ()}
        return _named(self.refine(self.first, values).model_copy(update=changes))

    def opened(self, chances: Chances) -> tuple[RunSpec, ...]:
        """The final runs while nothing is chosen."""
        return tuple(draft.model_copy(update={"tuned": chances}) for draft in self.drafts)

    def finals(self, chances: Chances) -> tuple[RunSpec, ...]:
        """The final runs, of all seeds, with what was chosen: the same runs as if it stood in the study.

        Args:
            chances: with what was chosen.
        """
        made = (self.refine(draft, chances.chosen or {}) for draft in self.drafts)
        return tuple(_named(final.model_copy(update={"tuned": chances})) for final in made)

    def shapes(self, ignored: frozenset[str]) -> list[RunSpec]:
        """Final runs of every combination that may be chosen; of a range its ends.

        Args:
            ignored: keys of which one value stands for all.
        """
        return [
            _named(shape.model_copy(update={"tuned": None}))
            for values in corners(self.space, ignored)
            for draft in self.drafts
            for shape in [_labelled(self.refine(draft, values), {k: v for k, v in values.items() if k not in ignored})]
        ]


def _labelled(run: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    label = " ".join(part for part in (run.method.label, shown_values(values)) if part)
    return run.model_copy(update={"method": run.method.model_copy(update={"label": label})})


def _named(run: RunSpec) -> RunSpec:
    return run.model_copy(update={"run_id": run_id(run)})
