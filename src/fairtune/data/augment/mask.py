"""Random masking: some words of a prompt are hidden, the answer stays the same.

The rate, and that it is a number of words rather than a chance of each, follow Devlin et al. 2019, section 3.1 and
appendix A.1, who mask 15 % of the words for pretraining. Here every chosen word is replaced by the mask; theirs is
kept, or replaced by a random word, in one of five cases, since their mask never occurs in use. Nor does ours: that is
the doubt about this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Annotated

from pydantic import Field

from fairtune.data.augment.protocol import Augmentation, Change, TextOptions, Tools
from fairtune.data.augment.words import Words, bare
from fairtune.study.fields import Number


class MaskOptions(TextOptions):
    """How much is hidden, behind what."""

    rate: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=0.15, description="share of words that are masked; at least one word is"
    )
    mask: str = Field(
        default="[MASK]", min_length=1, description="the text put in place of a word; a model reads it as any other"
    )


def masked(text: str, rate: float, mask: str, draw: Random) -> str:
    """``max(1, round(rate × words))`` words hidden; the punctuation around them, and what is nothing else, stays."""
    words = Words.of(text)
    parts = {index: bare(word) for index, word in enumerate(words.words)}
    possible = [index for index, (_, word, _) in parts.items() if word]
    count = min(len(possible), max(1, round(rate * len(possible))))
    chosen = draw.sample(possible, count)
    return str(words.with_words({index: f"{parts[index][0]}{mask}{parts[index][2]}" for index in chosen}))


def _change(options: MaskOptions, texts: Sequence[str], tools: Tools) -> Change:
    return lambda texts, draw: [masked(text, options.rate, options.mask, draw) for text in texts]


MASK = Augmentation(
    name="mask",
    summary="some words of the prompt hidden behind a mask",
    paper="Devlin et al. 2019, arXiv:1810.04805",
    options=MaskOptions,
    words=_change,
)
