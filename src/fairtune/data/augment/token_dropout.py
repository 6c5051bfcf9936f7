"""Token dropout: some tokens of a prompt are left out, the answer stays the same.

Word dropout of Iyyer et al. 2015, section 3.1 ("a token goes with probability p"), applied to an example once rather
than anew in each epoch: all methods must see the same. Their best p was 0.3 for an average over words; a model that
reads words in order is disturbed sooner, and the default is the 0.1 that is usual for deletion (Wei & Zou 2019).
Nothing of the chat template goes, no special token, and nothing that carries loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Annotated

from pydantic import Field

from fairtune.data.augment.protocol import Augmentation, Drop, Options
from fairtune.study.fields import Number


class TokenDropoutOptions(Options):
    """How much is left out."""

    rate: Annotated[Number, Field(gt=0, lt=1)] = Field(default=0.1, description="chance of each token to be left out")


def _drop(options: TokenDropoutOptions) -> Drop:
    def drop(positions: Sequence[int], draw: Random) -> frozenset[int]:
        gone = [position for position in positions if draw.random() < options.rate]
        # A question of no words at all is none.
        return frozenset(gone if len(gone) < len(positions) else gone[1:])

    return drop


TOKEN_DROPOUT = Augmentation(
    name="token_dropout",
    summary="some tokens of the prompt left out",
    paper="Iyyer et al. 2015, doi:10.3115/v1/P15-1162",
    options=TokenDropoutOptions,
    tokens=_drop,
)
