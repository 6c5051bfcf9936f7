"""Labels that answers name, against those of the references: accuracy, and F1 over labels.

An answer is read as the data room writes it (``data/shapes/labels.py``). What it names besides labels counts for no
label; an answer with such a name, or with none at all, is unparsable, and never an exact match.
"""

from __future__ import annotations

import numpy as np

from fairtune.data.shapes.labels import no_label, parse
from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, answer_of, ratio

_COUNTS = ("tp", "fp", "fn")


class LabelMetric(Metric):
    """What metrics of labels share: the label set, and how an answer is read."""

    version = 1
    needs = "generation"
    of_labels = True

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        self.labels = labels

    def with_labels(self, labels: tuple[str, ...]) -> Metric:
        """The same for these labels."""
        return type(self)(labels)

    def fits(self, task: Facts) -> str | None:
        """Rows must have labels."""
        advice = "rows of text and label, or `labels:` in the task"
        return None if task.labels else f"compares labels, and the task has none ({advice})"

    def objection(self, reference: str) -> str | None:
        """A reference names labels: rows of other shapes than `labels` may have the task's label set, too."""
        return None if self.named(reference)[1] else "its reference names something that is no label of the task"

    def named(self, answer: str) -> tuple[set[str], bool]:
        """The labels of an answer, and whether it is an answer that names labels and nothing else."""
        chosen, besides = parse(answer, self.labels)
        return set(chosen), not besides and (bool(chosen) or answer.strip() == no_label(self.labels))


class Accuracy(LabelMetric):
    """Share of items whose labels are all right."""

    name = "accuracy"
    unit = "share of items"
    higher_is_better = True
    statistics = ("correct", "items")
    proportion = True
    description = "share of answers that name exactly the reference's labels, in any order, or are the right choice"
    formula = "items with the same set of labels, or the right choice / items"
    source = "scikit-learn, accuracy_score"

    def fits(self, task: Facts) -> str | None:
        """Rows must have labels, or choices of their own."""
        return None if task.choices else super().fits(task)

    def objection(self, reference: str) -> str | None:
        """Where rows have choices, the reference is one of them."""
        return super().objection(reference) if self.labels else None

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        if not self.labels:
            return float(answer_of(outcome).strip() == outcome.reference.strip()), 1.0
        chosen, parsable = self.named(answer_of(outcome))
        return float(parsable and chosen == self.named(outcome.reference)[0]), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Hits per item."""
        return ratio(sums)


class UnparsableLabels(LabelMetric):
    """Share of answers that cannot be read as labels."""

    name = "unparsable_labels"
    unit = "share of items"
    higher_is_better = False
    statistics = ("unparsable", "items")
    proportion = True
    description = "share of answers that name something that is no label, or nothing at all"
    formula = "unparsable answers / items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        return float(not self.named(answer_of(outcome))[1]), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Unparsable answers per item."""
        return ratio(sums)


class LabelF1(LabelMetric):
    """F1 over labels, from counts of right, wrong and missed ones of each."""

    unit = "F1, 0–1"
    higher_is_better = True
    sparse = True

    def __init__(self, labels: tuple[str, ...] = ()) -> None:
        super().__init__(labels)
        self.statistics = tuple(f"{count}:{label}" for label in labels for count in _COUNTS)

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """For each label: whether it is rightly named, wrongly named, missed."""
        ours, theirs = self.named(answer_of(outcome))[0], self.named(outcome.reference)[0]
        return tuple(
            1.0 if counts else 0.0
            for label in self.labels
            for counts in (
                label in ours and label in theirs,
                label in ours and label not in theirs,
                label in theirs and label not in ours,
            )
        )

    def by_label(self, sums: Floats) -> dict[str, dict[str, float]] | None:
        """Precision, recall, F1 and support of each label."""
        right, wrong, missed = _counts(sums)
        columns = {
            "precision": _share(right, right + wrong),
            "recall": _share(right, right + missed),
            "f1": _share(2 * right, 2 * right + wrong + missed),
            "support": right + missed,
        }
        return {
            label: {name: float(column[n]) for name, column in columns.items()} for n, label in enumerate(self.labels)
        }


class F1Micro(LabelF1):
    """F1 of all decisions together."""

    name = "f1_micro"
    description = "F1 of all pairs of item and label together"
    formula = "2 tp / (2 tp + fp + fn), summed over items and labels"
    source = "scikit-learn, f1_score(average='micro'); SemEval-2021 task 6, subtask 1"

    def aggregate(self, sums: Floats) -> Floats:
        """From the counts of all labels."""
        right, wrong, missed = (count.sum(axis=-1) for count in _counts(sums))
        return _share(2 * right, 2 * right + wrong + missed)


class F1Macro(LabelF1):
    """Mean of labels' F1."""

    name = "f1_macro"
    description = "mean over all labels of the set of each one's F1; 0 for a label that neither side names"
    formula = "mean over labels of 2 tp / (2 tp + fp + fn), each summed over items"
    source = "scikit-learn, f1_score(average='macro', zero_division=0); SemEval-2021 task 6, subtask 1"

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over labels."""
        right, wrong, missed = _counts(sums)
        value: Floats = _share(2 * right, 2 * right + wrong + missed).mean(axis=-1)
        return value


def _counts(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Right, wrong and missed, ``(..., labels)``."""
    return sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]


def _share(above: Floats, below: Floats) -> Floats:
    """0 where there is nothing to be a share of."""
    value: Floats = np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
    return value


LABELS = (Accuracy(), F1Micro(), F1Macro(), UnparsableLabels())
