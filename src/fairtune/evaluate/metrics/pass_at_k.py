"""pass@k: the chance that at least one of k drawn programs passes all tests (Chen et al. 2021, arXiv:2107.03374).

Of n samples of an item c pass; ``1 − C(n−c, k) / C(n, k)`` (eq. 1) is the unbiased estimate for that item, and the
metric is its mean over items. With one greedy answer, pass@1 is the share of items solved.
"""

from __future__ import annotations

import math

from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, answer_of, ratio


class PassAtK(Metric):
    """Mean over items of the estimated chance that one of k samples passes."""

    version = 1
    unit = "share of items"
    higher_is_better = True
    needs = "generation"
    statistics = ("passed", "items")
    proportion = True
    runs_code = True
    formula = "mean of 1 − C(n − c, k) / C(n, k), where c of an item's n samples pass"
    source = "Chen et al. 2021, arXiv:2107.03374, eq. 1"

    def __init__(self, k: int) -> None:
        self.name = f"pass_at_{k}"
        self._k = k
        of = "a generated program passes" if k == 1 else f"at least one of {k} generated programs passes"
        self.description = f"chance that {of} the item's tests, run in a sandbox"

    def item(self, outcome: Outcome) -> tuple[float, ...]:
        """The item's estimate, and 1."""
        answer_of(outcome)
        if len(outcome.trials) < self._k:
            raise ValueError(f"item {outcome.id} has {len(outcome.trials)} programs that were run, and needs {self._k}")
        return estimate(len(outcome.trials), sum(trial.passed for trial in outcome.trials), self._k), 1.0

    def aggregate(self, sums: Floats) -> Floats:
        """Mean over items."""
        return ratio(sums)

    def fits(self, task: Facts) -> str | None:
        """It needs tests, and k samples that are not all the same."""
        if not task.tests:
            return "runs the tests of every test item; `columns: {tests: …}` of the task names the column that has them"
        if task.samples < self._k:
            return f"needs {self._k} samples of each item at least; write `code: {{samples: {self._k}}}` into the task"
        if task.samples > 1 and not task.drawn:
            return "is over samples, and greedy ones are all the same; write `generation: {temperature: 0.8}` or so"
        return super().fits(task)


def estimate(samples: int, passed: int, k: int) -> float:
    """``1 − C(n−c, k) / C(n, k)``: the chance that k of the n samples, none drawn twice, hold one that passed."""
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)
