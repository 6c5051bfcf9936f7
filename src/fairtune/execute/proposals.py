"""Which values a trial tries: Optuna's samplers over what is known of the trials before it.

Nothing of Optuna is stored. Its study is made anew for every trial, from the records of those before, and its sampler's
chance is of the seed, the method and the trial's number: so a study that was interrupted goes on as it would have.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairtune.study import Range, Space
from fairtune.study.tune import MOST, Choices, Sampler, possible

STARTUP = 4
"""Trials that `tpe` draws at random, before it has seen enough to be guided."""

_ATTEMPTS = 100
_DIGITS = 3

Values = dict[str, Any]


@dataclass(frozen=True)
class Past:
    """An earlier trial.

    Attributes:
        state: ``open`` where it is not done; ``diverged`` is the worst there is, ``failed`` says nothing of the values.
        loss: validation loss of one that is complete; ``losses``: after each epoch, of one that was pruned too.
    """

    values: Values
    state: Literal["complete", "pruned", "diverged", "failed", "open"] = "open"
    loss: float | None = None
    losses: tuple[float, ...] = ()


def propose(space: Space, sampler: Sampler, seed: str, past: Sequence[Past]) -> Values | None:
    """What the next trial tries: nothing that was tried before; None where nothing else is left.

    Args:
        seed: whatever chance is to depend on.
        past: all earlier trials, in order.
    """
    every = possible(space)
    if every is not None and len(past) >= every:
        return None
    if sampler == "grid":
        return _asked(space, sampler, _number(seed), past)
    tried = [one.values for one in past]
    for attempt in range(_ATTEMPTS):
        values = _asked(space, sampler, _number(f"{seed}\n{len(past)}\n{attempt}"), past)
        if values not in tried:
            return values
    left = [values for values in itertools.islice(_all(space), MOST) if values not in tried] if every else []
    return random.Random(_number(f"{seed}\n{len(past)}")).choice(left) if left else None  # noqa: S311 - no secret


def foreseen(sampler: Sampler, past: Sequence[Past]) -> bool:
    """Whether the next trial is known before all of these are done."""
    return sampler != "tpe" or len(past) < STARTUP or all(one.state != "open" for one in past)


def _number(text: str) -> int:
    """Optuna's seeds have 32 bits."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _asked(space: Space, sampler: Sampler, seed: int, past: Sequence[Past]) -> Values:
    optuna = _optuna()
    study = optuna.create_study(sampler=_sampler(space, sampler, seed))
    distributions = {key: _distribution(values) for key, values in space.items()}
    for one in past:
        study.add_trial(_told(one, space, distributions))
    found = study.ask(fixed_distributions=distributions).params
    return {key: _value(values, found[key]) for key, values in space.items()}


def _sampler(space: Space, sampler: Sampler, seed: int) -> Any:
    samplers = _optuna().samplers
    if sampler == "grid":
        # It takes the point whose place, in an order that the seed decides, is the trial's number.
        return samplers.GridSampler({key: list(range(len(values))) for key, values in _listed(space)}, seed=seed)
    if sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(n_startup_trials=STARTUP, seed=seed)


def _listed(space: Space) -> list[tuple[str, Choices]]:
    """What has choices; a study that has a range is refused a grid."""
    return [(key, values) for key, values in space.items() if not isinstance(values, Range)]


def _distribution(values: Any) -> Any:
    """Listed values stand for themselves by their place: Optuna takes no lists, and holds true for 1."""
    distributions = _optuna().distributions
    if not isinstance(values, Range):
        return distributions.CategoricalDistribution(range(len(values)))
    kind = distributions.IntDistribution if values.whole else distributions.FloatDistribution
    return kind(values.low, values.high, log=values.log)


def _told(one: Past, space: Space, distributions: dict[str, Any]) -> Any:
    optuna = _optuna()
    states = optuna.trial.TrialState
    # One that is open has its place in the order, and nothing to tell. What is pruned without a value ranks last: one
    # that diverged, told as failed, would be forgotten, and its neighbours tried again and again.
    known = {"complete": states.COMPLETE, "pruned": states.PRUNED, "diverged": states.PRUNED}
    state = known.get(one.state, states.FAIL)
    params = {key: _place(values, one.values[key]) for key, values in space.items()}
    seen = dict(enumerate(one.losses, 1))
    return optuna.trial.create_trial(
        state=state, value=one.loss, params=params, distributions=distributions, intermediate_values=seen
    )


def _place(values: Any, value: Any) -> Any:
    if isinstance(values, Range):
        return value
    return next(at for at, other in enumerate(values) if other == value and type(other) is type(value))


def _value(values: Any, found: Any) -> Any:
    if not isinstance(values, Range):
        return values[found]
    return found if values.whole else _rounded(found, values)


def _rounded(number: float, among: Range) -> float:
    """In as many digits as somebody would write, and still a thousand values or so from end to end."""
    width = number if among.log else among.high - among.low
    found = round(number, _DIGITS - 1 - math.floor(math.log10(width)) + (0 if among.log else 1))
    return min(max(found, float(among.low)), float(among.high))


def _all(space: Space) -> Iterator[Values]:
    axes = {
        key: range(int(values.low), int(values.high) + 1) if isinstance(values, Range) else values
        for key, values in space.items()
    }
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


@functools.cache
def _optuna() -> Any:
    """Half a second to import, and only where something is tuned."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells every study that is made
    return optuna
