"""From what a judge said to a line an item, and to the win rate with its interval. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairtune.evaluate.metrics.protocol import ratio
from fairtune.evaluate.verdicts import SCORES, Result, Verdict, Vote, fill
from fairtune.records import MetricValue, Verdicts
from fairtune.stats import Scores, estimate, sign_flips
from fairtune.study import JudgeChoice, JudgedItem

Said = Mapping[str, float | None]
"""By key of a question, the probability of the answer shown first; None where it is longer than the judge reads."""

VERSION = 1
"""Of the meaning of a win rate."""

_EQUAL, _TOO_LONG = "the answers are equal", "longer than the judge reads"


@dataclass(frozen=True)
class Line:
    """What became of an item, as ``judgements/ID.jsonl`` has it. ``keys`` and ``first``: of both orders."""

    id: str
    run: str
    against: str
    keys: tuple[str, ...] = ()
    first: tuple[float | None, ...] = ()
    votes: tuple[Vote, ...] = ()
    result: Result | None = None
    preference: float | None = None
    reason: str | None = None

    @property
    def verdict(self) -> Verdict | None:
        """None where the judge was not asked, or could not read it."""
        if len(self.first) != 2 or self.first[0] is None or self.first[1] is None:
            return None
        return Verdict(self.first[0], self.first[1])


def questions_of(judge: JudgeChoice, item: JudgedItem) -> dict[str, str]:
    """What is asked of an item, by key: the run's answer first, then the other's first; nothing of equal answers.

    The key stands for the judge and all of the text, so the same question of any two runs is asked once.
    """
    if item.run == item.against:
        return {}
    orders = ((item.run, item.against), (item.against, item.run))
    texts = [fill(judge.prompt, item.question, *order, item.reference) for order in orders]
    return {hashlib.sha256(f"{judge.identity}\n{text}".encode()).hexdigest()[:24]: text for text in texts}


def line_of(judge: JudgeChoice, item: JudgedItem, said: Said) -> Line:
    """The item's line, once all of its questions are answered."""
    keys = tuple(questions_of(judge, item))
    if not keys:
        return Line(item.id, item.run, item.against, result="tie", preference=0.5, reason=_EQUAL)
    line = Line(item.id, item.run, item.against, keys, tuple(said[key] for key in keys))
    verdict = line.verdict
    if verdict is None:
        return Line(item.id, item.run, item.against, keys, line.first, reason=_TOO_LONG)
    return Line(*(item.id, item.run, item.against, keys, line.first), verdict.votes, verdict.result, verdict.preference)


def verdicts_of(lines: Sequence[Line]) -> Verdicts:
    """Everything that is counted."""
    judged = [line for line in lines if line.result is not None]
    read = [line.verdict for line in lines if line.verdict is not None]
    results = [line.result for line in judged]
    return Verdicts(
        items=len(lines),
        wins=results.count("win"),
        ties=results.count("tie"),
        losses=results.count("loss"),
        equal=sum(line.reason == _EQUAL for line in lines),
        left_out=len(lines) - len(judged),
        flips=sum(verdict.flipped for verdict in read),
        asked=len(read),
        first_chosen=_mean([verdict.first_chosen / 2 for verdict in read]),
        preference=_mean([line.preference for line in judged if line.preference is not None]),
        run_characters=_mean([len(line.run) for line in judged]),
        against_characters=_mean([len(line.against) for line in judged]),
    )


def win_rate(lines: Sequence[Line]) -> tuple[MetricValue, float | None]:
    """(wins + ties / 2) / items judged with its 95 % interval, and the p-value of one half.

    Without ties the rate is a share of items, for which Wilson's interval holds; else a bootstrap over items. The
    p-value is of sign flips around one half: on each item win and loss change places.
    """
    scores = np.array([[SCORES[line.result], 1.0] for line in lines if line.result is not None]).reshape(1, -1, 2)
    if not scores.size:
        return _metric(
            None, None, None, 0, "none", "no item could be judged: all are longer than the judge reads"
        ), None
    found = estimate(Scores(scores, ratio, proportion=not (scores[..., 0] == SCORES["tie"]).any()))
    count = scores.shape[1]
    value = _metric(found.value, found.low, found.high, count, found.method, found.reason)
    return value, sign_flips(scores[0, :, 0] - SCORES["tie"]).p if count > 1 else None


def _metric(
    value: float | None, low: float | None, high: float | None, n: int, interval: str, reason: str | None
) -> MetricValue:
    return MetricValue(
        value=value,
        low=low,
        high=high,
        n=n,
        unit="share of items",
        higher_is_better=True,
        version=VERSION,
        interval=interval,
        reason=reason,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
