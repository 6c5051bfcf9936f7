"""Likelihood of plain text by what every tokenizer leaves as it is: words and bytes.

Words and bytes are counted as lm-evaluation-harness does, on the text itself: parts between white space, and UTF-8.
What the document's first token stands for is not counted, since nothing predicts it: models with other tokenizers
are compared on all the text that each was asked to predict.
"""

from __future__ import annotations

import numpy as np

from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, ratio


class _PerUnit(Metric):
    """Loss by something that is counted in the text."""

    version = 1
    higher_is_better = False
    needs = "likelihood"
    source = "lm-evaluation-harness, loglikelihood_rolling"

    def __init__(self, name: str, counted: str, unit: str, what: str) -> None:
        self.name, self._counted, self.unit = name, counted, unit
        self.reads = frozenset({counted})
        self.statistics = ("loss_nats", counted)
        self.description = f"{what} of plain text"

    def fits(self, task: Facts) -> str | None:
        """Answers are scored with the sign that ends them, which is no text."""
        return None if task.plain_text else "counts the text of documents, and this task has questions and answers"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Loss and words, or bytes."""
        count = getattr(outcome, self._counted)
        if outcome.loss is None or count is None:
            raise ValueError(f"item {outcome.id} has no likelihood, or its {self._counted} were not counted")
        return outcome.loss, float(count)


class PerplexityBy(_PerUnit):
    """exp of the mean negative log-likelihood per word or byte."""

    def __init__(self, name: str, counted: str, unit: str) -> None:
        super().__init__(name, counted, unit, f"exp of the negative log-likelihood {unit}")
        self.formula = f"exp(nats / {counted}), both summed over items"

    def aggregate(self, sums: Floats) -> Floats:
        """exp(loss / count)."""
        with np.errstate(over="ignore"):
            value: Floats = np.exp(ratio(sums))
        return value


class BitsPerByte(_PerUnit):
    """Negative log-likelihood in bits a byte."""

    def __init__(self) -> None:
        super().__init__("bits_per_byte", "bytes", "bits per byte", "negative log-likelihood, in bits per UTF-8 byte,")
        self.formula = "nats / bytes / ln 2, both summed over items"

    def aggregate(self, sums: Floats) -> Floats:
        """Nats per byte over ln 2."""
        value: Floats = ratio(sums) / np.log(2.0)
        return value


TEXT = (
    PerplexityBy("word_perplexity", "words", "per word"),
    PerplexityBy("byte_perplexity", "bytes", "per byte"),
    BitsPerByte(),
)
