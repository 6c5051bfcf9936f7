"""The trials of a method: which is next, what they have told, and which runs follow."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fairtune.execute.proposals import Past, foreseen, propose
from fairtune.execute.request import Request
from fairtune.execute.state import State, state_of
from fairtune.records import kept_loss
from fairtune.study import Chances, RunSpec, Search, find_pairs

PRUNE_AFTER = 3
"""Complete trials of a method before others are measured against them."""


class Tuning:
    """The trials of one search, so far.

    Attributes:
        trials: in order; those that are not done are among them.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.trials: list[State] = []
        self._exhausted = False

    def next(self) -> RunSpec | None:
        """The trial after these; None where there is none, or none is known before these are done."""
        past = [_past(state) for state in self.trials]
        if self._exhausted or len(past) >= self.search.trials or not foreseen(self.search.sampler, past):
            return None
        first = self.search.first
        values = propose(self.search.space, self.search.sampler, f"{first.seed}\n{first.method.name}", past)
        self._exhausted = values is None
        return None if values is None else self.search.trial(len(past) + 1, values, limits_after(past))

    def add(self, state: State) -> None:
        """Takes the next trial."""
        self.trials.append(state)

    @property
    def chances(self) -> Chances:
        """What is known of all, and what is chosen where nothing is open."""
        past = [_past(state) for state in self.trials]
        done = [one for one in past if one.state != "open"]
        search, chances = self.search, self.search.first.tuned
        if chances is None:
            raise ValueError("a search has drafts whose options are open")
        best = min((one for one in past if one.loss is not None), key=lambda one: one.loss or 0.0, default=None)
        over = len(done) == len(past) and (self._exhausted or len(past) == search.trials)
        return chances.model_copy(
            update={
                "possible": len(past) if self._exhausted else chances.possible,
                "trials": len(done),
                "pruned": sum(one.state == "pruned" for one in past),
                "failed": sum(one.state in ("failed", "diverged") for one in past),
                "runs": tuple(state.spec.run_id for state in self.trials),
                "chosen": best.values if over and best else None,
                "validation_loss": best.loss if over and best else None,
            }
        )

    @property
    def finals(self) -> tuple[RunSpec, ...]:
        """The runs of all seeds with what was chosen; while nothing is, or can be, runs that say so."""
        chances = self.chances
        return self.search.opened(chances) if chances.chosen is None else self.search.finals(chances)


def limits_after(past: Sequence[Past]) -> tuple[float, ...]:
    """After each epoch, the median validation loss of the complete trials that had it (Optuna's median rule).

    A trial whose lowest loss is above is pruned. Empty while too few are complete, or where all have one epoch.
    """
    complete = [one.losses for one in past if one.state == "complete"]
    if len(complete) < PRUNE_AFTER:
        return ()
    epochs = max(len(losses) for losses in complete)
    return tuple(
        statistics.median([losses[epoch] for losses in complete if len(losses) > epoch]) for epoch in range(epochs)
    )


def _past(state: State) -> Past:
    values = state.spec.trial.values if state.spec.trial else {}
    record = state.record
    if record is None or record.status == "interrupted":
        return Past(values)
    if record.status != "ok" or record.selection is None:
        return Past(values, "diverged" if record.status == "diverged" else "failed")
    losses = record.selection.validation_losses
    if record.selection.pruned is not None:
        return Past(values, "pruned", None, losses)
    return Past(values, "complete", kept_loss(record.selection), losses)


@dataclass(frozen=True)
class Resolved:
    """A study as far as its trials have decided.

    Attributes:
        request: with the runs that follow from what was chosen, in the place of those that were open.
        trials: of all methods that are tuned, as far as they are known.
    """

    request: Request
    trials: tuple[State, ...] = ()


def resolve(request: Request, runs: Path) -> Resolved:
    """Looks at the trials that there are; nothing is run.

    Raises:
        RecordVersionError: a record of a version that this fairtune cannot read.
    """
    tunings = [_looked_at(search, lambda spec: state_of(spec, runs)) for search in request.searches]
    found = {
        draft.run_id: final
        for tuning in tunings
        for draft, final in zip(tuning.search.drafts, tuning.finals, strict=True)
    }
    specs = tuple(found.get(spec.run_id, spec) for spec in request.specs)
    pairs = tuple(find_pairs(request.judge.against, specs)) if request.judge and found else request.pairs
    trials = tuple(state for tuning in tunings for state in tuning.trials)
    return Resolved(replace(request, specs=specs, pairs=pairs), trials)


def _looked_at(search: Search, look: Callable[[RunSpec], State]) -> Tuning:
    tuning = Tuning(search)
    while (spec := tuning.next()) is not None:
        tuning.add(look(spec))
    return tuning
