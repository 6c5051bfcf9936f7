"""Answers of a run that are chosen by likelihood (``predict: score``): among labels, or among a row's own choices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairtune.data import Example, Splits
from fairtune.data.shapes.labels import no_label
from fairtune.evaluate.generation import Answer
from fairtune.evaluate.label_choice import Offer, choose_label_sets, choose_options, require_room
from fairtune.evaluate.metrics import metrics_of
from fairtune.execute.phases import PhaseMeter
from fairtune.models.load import LanguageModel
from fairtune.study import RunSpec


def chooses(spec: RunSpec) -> bool:
    """Whether answers are asked for, and chosen instead of written."""
    needed = any(metric.needs == "generation" for metric in metrics_of(spec).values())
    return needed and spec.task.task.predict == "score"


def require_room_to_choose(spec: RunSpec, splits: Splits, tokenizer: Any, context: int | None) -> None:
    """Checks, before anything is trained, that every prompt fits with all that may answer it.

    Raises:
        DataError: one does not.
    """
    if chooses(spec):
        parts = (splits.validation, splits.test) if splits.label_sets else (splits.test,)
        for part in parts:
            require_room(_offers(part, splits), tokenizer, context)


def choose(spec: RunSpec, model: LanguageModel, splits: Splits, meter: PhaseMeter) -> tuple[list[Answer], str | None]:
    """The answers to the test items, and what is to be stated of how they were chosen.

    Rows that all have one label, or choices of their own, have the likeliest. Else the labels are those above a
    threshold, which the validation part decides.
    """
    asked = splits.validation if splits.label_sets else ()
    options = sum(len(offer.options) for part in (asked, splits.test) for offer in _offers(part, splits))
    with meter.phase("evaluate", options) as progress:
        if not splits.label_sets:
            return choose_options(model, list(_offers(splits.test, splits)), progress.advance), None
        found, threshold = choose_label_sets(model, splits.test, asked, spec.task.labels, progress.advance)
    return found, f"threshold:{threshold:.6g}|validation:{len(asked)}"


def _offers(part: Iterable[Example], splits: Splits) -> Iterable[Offer]:
    labels = (no_label(splits.labels), *splits.labels) if splits.label_sets else splits.labels
    return (Offer(example, example.choices or labels) for example in part)
