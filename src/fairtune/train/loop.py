"""ONE training loop for every method: in a comparison, two copies of a loop are a confound."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fairtune.data import Encoded, Updates, updates
from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.models.likelihood import item_losses
from fairtune.models.load import LanguageModel
from fairtune.models.packable import drops
from fairtune.study import Training
from fairtune.train.best import BestWeights
from fairtune.train.checkpoint import Checkpoints
from fairtune.train.optimizer import optimizer_of
from fairtune.train.parallel import ALONE, World
from fairtune.train.scaling import Scaling
from fairtune.train.schedule import learning_rate_at
from fairtune.train.state import State, random_state, restore_random
from fairtune.train.step import StepResult, step


@dataclass(frozen=True)
class UpdateReport:
    """One line of curve.jsonl. ``tokens`` and ``seconds`` count from the first update, validation excluded.

    ``grad_norm`` is None for an update that was skipped.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    learning_rate: float
    tokens: int
    seconds: float
    grad_norm: float | None


_COUNTS = ("tokens", "supervised", "computed", "padding", "update_seconds", "updates")

Report = Callable[[UpdateReport], None]
Limits = Sequence[float | None]
"""After each epoch, the validation loss above which a training is not worth going on with; None: whatever it is."""


@dataclass
class TrainingResult:
    """What training did: token counts over all epochs, seconds in updates alone, losses on validation.

    ``updates`` are fewer than planned where early stopping ended it, or where it was ``pruned``.
    """

    tokens: int = 0
    supervised: int = 0
    computed: int = 0
    padding: int = 0
    update_seconds: float = 0.0
    updates: int = 0
    best_epoch: int | None = None
    validation_losses: tuple[float, ...] = ()
    scaling: Scaling | None = None
    pruned: bool = False

    def add(self, result: StepResult, seconds: float) -> None:
        """Counts one update."""
        self.updates += 1
        self.tokens += result.tokens
        self.supervised += result.supervised
        self.computed += result.computed
        self.padding += result.padding
        self.update_seconds += seconds


def train(
    tuned: Tuned,
    examples: Sequence[Encoded],
    validation: Sequence[Encoded],
    training: Training,
    seed: int,
    scratch: Path,
    report: Report,
    checkpoints: Checkpoints | None = None,
    world: World = ALONE,
    limits: Limits = (),
) -> TrainingResult:
    """Trains what a method marked as trainable, and leaves the chosen epoch's weights in the model.

    Args:
        scratch: a file for the best epoch's weights while later epochs run; gone afterwards.
        report: called after every update.
        checkpoints: where training is kept; it goes on from what they have found.
        world: the processes that share the training; each calls this with the same examples.
        limits: ends after an epoch whose limit is below the lowest validation loss so far; see :class:`Loop`.

    Raises:
        DivergedError: a loss or gradient was not finite; the message names the update.
    """
    torch.manual_seed(seed + world.group.rank)  # dropout: other draws for other examples
    look_for_dropout(tuned)
    world.wrap(tuned)
    loop = Loop(tuned, examples, validation, training, seed, scratch, report, checkpoints, world, limits)
    try:
        if checkpoints and checkpoints.found:
            loop.restore(checkpoints.found)
        with recomputing(tuned, training):
            return loop.run()
    finally:
        loop.close()


def look_for_dropout(tuned: Tuned) -> None:
    """Finds out whether packed texts may share what they begin with."""
    tuned.model.drops = tuned.model.batching.packed and drops(tuned.model)


@contextlib.contextmanager
def recomputing(tuned: Tuned, training: Training) -> Iterator[None]:
    """While active, and if the recipe asks for it, only the input of each layer is kept (Chen et al. 2016)."""
    network = tuned.model.network
    if training.gradient_checkpointing:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        if training.gradient_checkpointing:
            network.gradient_checkpointing_disable()


class Loop:
    """A training under way. Where it stands is ``done``, the updates so far: epoch and position follow from it."""

    def __init__(
        self,
        tuned: Tuned,
        examples: Sequence[Encoded],
        validation: Sequence[Encoded],
        training: Training,
        seed: int,
        scratch: Path,
        report: Report,
        checkpoints: Checkpoints | None = None,
        world: World = ALONE,
        limits: Limits = (),
    ) -> None:
        self.tuned, self.training, self.world, self._checkpoints = tuned, training, world, checkpoints
        self._limits = limits
        self._examples, self._validation, self._report = examples, validation, report
        self.optimizer = optimizer_of(tuned, training)
        self.best = BestWeights(tuned, scratch)
        self.result = TrainingResult()
        self._keeps = training.keep == "best" and world.keeps
        self.total = training.total_updates(len(examples))
        self._per_epoch = math.ceil(len(examples) / training.batch_size)
        self._order = functools.lru_cache(maxsize=1)(
            functools.partial(updates, len(examples), training.batch_size, seed)
        )

    def run(self) -> TrainingResult:
        """Goes on from where it stands to the last update."""
        while not self.finished:
            order, epoch, position = self._place()
            self._update(order[position], epoch)
            if position + 1 == len(order) or self.done == self.total:
                loss = mean_loss(self.tuned.model, self._validation, self.world)
                self.best.offer(loss, write=self.done < self.total and self._keeps)
            if self._checkpoints:
                self._checkpoints.offer(self.done, self.finished, self.state)
        self.optimizer.scaling.require_some(self.done)
        if self._keeps:
            self.best.put_back()
        if self.training.keep == "best":
            self.result.best_epoch = self.best.epoch
        self.result.validation_losses = tuple(self.best.losses)
        self.result.scaling = self.optimizer.scaling
        self.result.pruned = self.done < self.total and not self._out_of_patience
        return self.result

    @property
    def done(self) -> int:
        """Updates so far."""
        return self.result.updates

    @property
    def finished(self) -> bool:
        """Whether all updates are done, the recipe says to stop, or others were better by now."""
        return self.done >= self.total or self._out_of_patience or self._too_weak

    @property
    def _out_of_patience(self) -> bool:
        """Whether so many epochs brought nothing that the recipe says to stop."""
        patience = self.training.early_stopping
        return patience is not None and self.best.since >= patience

    @property
    def _too_weak(self) -> bool:
        """Whether the lowest loss is above the limit of the last epoch."""
        epoch = len(self.best.losses)
        limit = self._limits[epoch - 1] if 0 < epoch <= len(self._limits) else None
        return limit is not None and min(self.best.losses) > limit

    def state(self) -> State:
        """Everything that the updates to come depend on, as it is now: not copies."""
        counts = {name: getattr(self.result, name) for name in _COUNTS}
        return State.of(
            loop=State(facts=counts),
            optimizer=self.optimizer.state(),
            scaling=State(facts=self.optimizer.scaling.state_dict()),
            best=self.best.state(),
            method=State(self.tuned.gathered(), {"kept": self.tuned.kept()}),
            random=random_state(self.tuned.model.device),
        )

    def restore(self, state: State) -> None:
        """Stands where the training stood that had this state."""
        self.result = TrainingResult(**state.part("loop").facts)
        self.optimizer.restore(state.part("optimizer"))
        self.optimizer.scaling.load_state_dict(state.part("scaling").facts)
        self.best.restore(state.part("best"))
        method = state.part("method")
        self.tuned.put_back(method.facts["kept"])
        self.tuned.go_on_with(method.tensors)
        restore_random(state.part("random"), self.tuned.model.device)

    def close(self) -> None:
        """Gives memory and scratch file back."""
        self.optimizer.close()
        self.best.file.unlink(missing_ok=True)

    def _place(self) -> tuple[Updates, int, int]:
        """The order of the present epoch, the epoch from 0, and the position of the next update in it."""
        epoch, position = divmod(self.done, self._per_epoch)
        return self._order(epoch), epoch, position

    def _update(self, rows: Sequence[int], epoch: int) -> None:
        rate = learning_rate_at(self.done, self.total, self.training)
        self.tuned.model.network.train()
        started = time.perf_counter()
        try:
            batch = [self._examples[row] for row in rows]
            outcome = step(self.tuned, batch, self.optimizer, rate, self.done + 1, self.world)
        except DivergedError as error:
            where = f"update {self.done + 1} of {self.total}, learning rate {rate:.3g}"
            raise DivergedError(f"{where}: {error}") from None
        self.result.add(outcome, time.perf_counter() - started)
        self._report(
            UpdateReport(
                self.done,
                self.total,
                epoch + 1,
                outcome.loss,
                rate,
                self.result.tokens,
                self.result.update_seconds,
                outcome.grad_norm,
            )
        )


def mean_loss(model: LanguageModel, examples: Sequence[Encoded], world: World = ALONE) -> float:
    """Nats per supervised token over all examples: every token weighs the same, whatever its batch."""
    losses = tokens = 0.0
    model.network.eval()
    for part in world.parts(examples, model.batching_now):
        scored = item_losses(model, part.examples)  # one forward pass, since the part is within the budget
        losses += part.weight * sum(item.loss for item in scored)
        tokens += part.weight * sum(item.tokens for item in scored)
    losses, tokens = world.group.sum([losses, tokens])
    return losses / tokens


def curve_line(update: UpdateReport) -> dict[str, float | int | None]:
    """The fields of curve.jsonl."""
    return asdict(update)
