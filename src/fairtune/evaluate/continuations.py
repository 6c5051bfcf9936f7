"""How likely continuations of contexts are: what benchmarks of several choices ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fairtune.data import Encoded
from fairtune.models.likelihood import supervised_logits
from fairtune.models.load import LanguageModel


@dataclass(frozen=True)
class Continuation:
    """Tokens, and the context they are thought to continue; each at least one token."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood of a continuation in nats, summed over its tokens.

    ``greedy``: whether each token is the likeliest at its place. ``cut``: tokens of the context that were left away,
    from its beginning, since the whole is longer than the model reads.
    """

    log_likelihood: float
    greedy: bool
    cut: int = 0


@torch.no_grad()
def score_continuations(
    model: LanguageModel, asked: Sequence[Continuation], done: Callable[[int], None] = lambda _: None
) -> list[Likelihood]:
    """The likelihood of every continuation, in order."""
    model.network.eval()
    found = []
    for item in asked:
        tokens = item.context + item.tokens
        supervised = (False,) * len(item.context) + (True,) * len(item.tokens)
        logits, answers, _ = supervised_logits(model, [Encoded("", tokens, supervised, len(item.context), "")])
        log_p = logits.log_softmax(-1).gather(1, answers.unsqueeze(1)).sum()
        found.append(Likelihood(float(log_p), bool((logits.argmax(-1) == answers).all())))
        done(len(found))
    return found
