"""Examples to lines of a table, a batch at a time: one is written out while the next ones are tokenised."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fairtune.data.encode import Draft, Line, draft_of, in_pieces
from fairtune.data.examples import Example
from fairtune.data.template import template_of
from fairtune.data.tokens.batch import Batch, BatchTokenizer

# Enough that both cores always have something to do, few enough that their tokens are nothing beside a model.
_EXAMPLES = 1000
_CHARACTERS = 1 << 22
_AHEAD = 2


def lines_of(examples: Iterable[Example], tokenizer: Any) -> Iterator[Line]:
    """Every example's tokens, in order; the same as ``encode_all`` finds one by one.

    Raises:
        DataError: the chat template cannot be applied so that answers can be told from prompts.
    """
    batched = BatchTokenizer(tokenizer)
    waiting: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1) as pool:
        for drafts in _groups(examples, tokenizer):
            waiting.append(pool.submit(Batch(drafts, batched).tokenise))
            if len(waiting) > _AHEAD:
                yield from waiting.popleft().result().lines()
        while waiting:
            yield from waiting.popleft().result().lines()


def _groups(examples: Iterable[Example], tokenizer: Any) -> Iterator[list[Draft]]:
    """Texts to be tokenised together: as many examples or characters as make a batch."""
    template = template_of(tokenizer)
    group: list[Draft] = []
    characters = 0
    for example in in_pieces(examples):
        size = sum([len(message.content) for message in example.messages])
        if group and (len(group) == _EXAMPLES or characters + size > _CHARACTERS):
            yield group
            group, characters = [], 0
        group.append(draft_of(example, template))
        characters += size
    if group:
        yield group
