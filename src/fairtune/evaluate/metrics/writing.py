"""How answers are written, whatever they say: length, repetition, variety, and whether they come to an end.

None of these is better one way by itself, so two runs are only told apart. Words are what white space separates: they
are the same for every tokenizer.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, answer_of, ratio

_REPEATED = 4


class _Writing(Metric):
    """What these metrics share."""

    version = 1
    higher_is_better = None
    needs = "generation"

    def fits(self, task: Facts) -> str | None:
        """Answers must have been written."""
        if task.scored:
            return "says how answers are written, and `predict: score` chooses them"
        return super().fits(task)

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over items."""
        return ratio(sums)


class AnswerLength(_Writing):
    """Mean number of tokens."""

    name = "answer_length"
    unit = "tokens"
    statistics = ("tokens", "items")
    description = "mean length of generated answers, in the model's own tokens, the one that ends them aside"
    formula = "tokens / items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Tokens, and 1."""
        if outcome.output_tokens is None:
            raise ValueError(f"item {outcome.id} has no generated answer")
        return float(outcome.output_tokens), 1.0


class Stopped(_Writing):
    """Share of answers that came to an end."""

    name = "stopped"
    unit = "share of items"
    statistics = ("stopped", "items")
    proportion = True
    description = "share of answers that ended by themselves, before max_new_tokens"
    formula = "answers with an end token or stop text / items"
    source = "–"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """1 or 0, and 1."""
        if outcome.stopped is None:
            raise ValueError(f"item {outcome.id} has no generated answer")
        return float(outcome.stopped), 1.0


class Repetition(_Writing):
    """Mean share of n-grams that stood in the same answer before."""

    name = "repetition"
    unit = "share of 4-grams"
    statistics = ("repeated", "items")
    description = "mean over items of the share of word 4-grams that stood in the answer before; 0 below 4 words"
    formula = "mean of 1 − different 4-grams / 4-grams"
    source = "Welleck et al. 2020, arXiv:1908.04319 (seq-rep-4), there over tokens"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Share, and 1."""
        found = ngrams(answer_of(outcome), _REPEATED)
        return (1.0 - len(set(found)) / len(found) if found else 0.0), 1.0


class Distinct(_Writing):
    """Mean share of different n-grams."""

    unit = "share of n-grams"
    statistics = ("distinct", "items")
    formula = "mean of different n-grams / n-grams, over the answers that have any"
    source = "Li et al. 2016, arXiv:1510.03055, there over all answers at once, which is no function of sums"

    def __init__(self, n: int) -> None:
        self._n = n
        self.name = f"distinct_{n}"
        what = "words" if n == 1 else f"word {n}-grams"
        self.description = f"mean over items of the share of different {what} within an answer"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """Share, and 1; both 0 for an answer that is too short to have any."""
        found = ngrams(answer_of(outcome), self._n)
        return (len(set(found)) / len(found), 1.0) if found else (0.0, 0.0)


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Runs of ``n`` words."""
    words = text.split()
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


WRITING = (AnswerLength(), Stopped(), Repetition(), Distinct(1), Distinct(2))
