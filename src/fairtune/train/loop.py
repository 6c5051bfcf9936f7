"""ONE training loop for every method: in a comparison, two copies of a loop are a confound."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fairtune.data import Encoded, updates
from fairtune.errors import DivergedError
from fairtune.methods import Tuned
from fairtune.models.likelihood import item_losses
from fairtune.models.load import LanguageModel
from fairtune.study import Training
from fairtune.train.best import BestWeights
from fairtune.train.optimizer import MasterAdamW
from fairtune.train.scaling import Scaling
from fairtune.train.schedule import learning_rate_at
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


@dataclass
class TrainingResult:
    """What training did: token counts over all epochs, seconds in updates alone, losses on validation."""

    tokens: int = 0
    supervised: int = 0
    padding: int = 0
    update_seconds: float = 0.0
    best_epoch: int | None = None
    validation_losses: tuple[float, ...] = ()
    scaling: Scaling | None = None

    def add(self, result: StepResult, seconds: float) -> None:
        """Counts one update."""
        self.tokens += result.tokens
        self.supervised += result.supervised
        self.padding += result.padding
        self.update_seconds += seconds


def train(
    tuned: Tuned,
    examples: Sequence[Encoded],
    validation: Sequence[Encoded],
    training: Training,
    seed: int,
    scratch: Path,
    report: Callable[[UpdateReport], None],
) -> TrainingResult:
    """Trains what a method marked as trainable, and leaves the chosen epoch's weights in the model.

    Args:
        scratch: a file for the best epoch's weights while later epochs run; gone afterwards.
        report: called after every update.

    Raises:
        DivergedError: a loss or gradient was not finite; the message names the update.
    """
    torch.manual_seed(seed)
    model = tuned.model
    trainable = [(name, p) for name, p in model.network.named_parameters() if p.requires_grad]
    optimizer = MasterAdamW([(p, tuned.rate_factor(name)) for name, p in trainable], training, Scaling(model.precision))
    best = BestWeights(tuned, scratch)
    result = TrainingResult()
    try:
        if training.gradient_checkpointing:
            # Keeps only the input of each layer for the backward pass (Chen et al. 2016).
            model.network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        total = training.total_updates(len(examples))
        done = 0
        for epoch in itertools.count():
            done = _epoch(tuned, examples, training, seed, epoch, done, total, optimizer, result, report)
            best.offer(mean_loss(model, validation), write=done < total and training.keep == "best")
            if done == total:
                break
        optimizer.scaling.require_some(total)
        if training.keep == "best":
            best.restore()
            result.best_epoch = best.epoch
    finally:
        if training.gradient_checkpointing:
            model.network.gradient_checkpointing_disable()
        optimizer.close()
        scratch.unlink(missing_ok=True)
    result.validation_losses = tuple(best.losses)
    result.scaling = optimizer.scaling
    return result


def _epoch(
    tuned: Tuned,
    examples: Sequence[Encoded],
    training: Training,
    seed: int,
    epoch: int,
    start: int,
    total: int,
    optimizer: MasterAdamW,
    result: TrainingResult,
    report: Callable[[UpdateReport], None],
) -> int:
    """Goes through the examples once, or as far as the updates reach; returns how many updates are done then."""
    plan = updates(len(examples), training.batch_size, seed, epoch)
    here = min(len(plan), total - start)
    tuned.model.network.train()
    for done, rows in enumerate(itertools.islice(plan, here), start):
        rate = learning_rate_at(done, total, training)
        started = time.perf_counter()
        try:
            outcome = step(tuned, [examples[row] for row in rows], optimizer, rate, done + 1)
        except DivergedError as error:
            raise DivergedError(f"update {done + 1} of {total}, learning rate {rate:.3g}: {error}") from None
        result.add(outcome, time.perf_counter() - started)
        report(
            UpdateReport(
                done + 1,
                total,
                epoch + 1,
                outcome.loss,
                rate,
                result.tokens,
                result.update_seconds,
                outcome.grad_norm,
            )
        )
    return start + here


def mean_loss(model: LanguageModel, examples: Sequence[Encoded]) -> float:
    """Nats per supervised token over all examples: every token weighs the same, whatever its batch."""
    scored = item_losses(model, examples)
    return sum(item.loss for item in scored) / sum(item.tokens for item in scored)


def curve_line(update: UpdateReport) -> dict[str, float | int | None]:
    """The fields of curve.jsonl."""
    return asdict(update)
