"""Stand-ins for tokens, where a study is to be planned and its model's tokenizer is not here.

How many there are is estimated from the text's bytes, and rather too many than too few: a token is an ASCII digit; or
two and two thirds bytes of other ASCII text; or one and a third bytes of any other text. SmolLM2's tokenizer makes 2 to
44 % fewer of the texts of five tasks (docs/data.md says of which).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from fairtune.data.encode import Encoded
from fairtune.data.examples import Example, digest
from fairtune.data.items import Items, Numbers

# Of a token, in eighths.
_WHOLE, _ASCII, _DIGIT, _OTHER = 8, 3, 8, 6
_DIGITS = b"0123456789"
_ALL_ASCII = bytes(range(128))
_EIGHTHS = np.full(256, _OTHER)
_EIGHTHS[:128] = _ASCII
_EIGHTHS[list(_DIGITS)] = _DIGIT

# Marks of a chat template. ChatML, as SmolLM2 writes it, has 3 or 4 before a turn and 2 behind it, and 21 for a system
# message where the conversation has none.
BEFORE_TURN, AFTER_TURN, DEFAULT_SYSTEM = 4, 2, 26

# 2⁶⁴ divided by the golden ratio (Knuth, The Art of Computer Programming, vol. 3, section 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_LOW_BITS = np.uint64(33)


def token_count(text: str) -> int:
    """How many tokens a text is taken for; none only where there is no text."""
    data = text.encode()
    digits = len(data) - len(data.translate(None, _DIGITS))
    others = len(data.translate(None, _ALL_ASCII))
    return -(-(_ASCII * (len(data) - digits - others) + _DIGIT * digits + _OTHER * others) // _WHOLE)


def stand_ins(text: str, vocabulary: int) -> tuple[int, ...]:
    """A text as ``token_count(text)`` stand-ins below ``vocabulary``.

    Each is a hash of the bytes it stands for. Cuts depend on nothing that comes later: what two texts begin with in
    common has the same stand-ins in both, but perhaps the last.
    """
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    if not len(data):
        return ()
    rows = (np.cumsum(_EIGHTHS[data]) - 1) // _WHOLE
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    places = np.arange(len(data)) - starts[rows]
    # Three bytes at most; one more than each, so that a zero byte counts.
    parts = (data.astype(np.uint64) + np.uint64(1)) << (np.uint64(9) * places.astype(np.uint64))
    return _ids(np.add.reduceat(parts, starts), vocabulary)


def _ids(values: npt.NDArray[np.uint64], vocabulary: int) -> tuple[int, ...]:
    return tuple(((values * _SPREAD) >> _LOW_BITS).astype(np.int64) % vocabulary)


def estimated(examples: Sequence[Example], vocabulary: int) -> Items:
    """Examples as stand-ins for their tokens, made when they are looked at.

    A conversation is read as a chat template would write it, with loss on its answers and on what ends them; a document
    of plain text as it is.

    Args:
        vocabulary: stand-ins are below it.
    """
    return _Estimated(examples, vocabulary)


class _Estimated(Items):
    def __init__(self, examples: Sequence[Example], vocabulary: int) -> None:
        self._examples, self._vocabulary = examples, vocabulary
        spans = [_spans(example) for example in examples]
        self.lengths = _numbers(found[-1][1] for found in spans)
        self.prompt_lengths = _numbers(found[-1][0] for found in spans)
        # A first token has nothing to be predicted from.
        self.first_learned = np.minimum(_numbers(max(found[0][0], 1) for found in spans), self.lengths)
        # Windows of one document ask for it again and again.
        self._tokens = functools.lru_cache(maxsize=2)(self._made)

    def at(self, index: int) -> Encoded:
        """The example at ``index``."""
        example = self._examples[index]
        learned = [False] * int(self.lengths[index])
        for start, end in _spans(example):
            learned[start:end] = [True] * (end - start)
        asked = digest("\n".join(message.content for message in example.prompt))
        prompt_length = int(self.prompt_lengths[index])
        return Encoded(example.id, self._tokens(index), tuple(learned), prompt_length, asked, example.answer)

    def id_of(self, index: int) -> str:
        """Its id."""
        return self._examples[index].id

    def tokens_of(self, index: int, start: int, end: int) -> tuple[int, ...]:
        """Some of its tokens."""
        return self._tokens(index)[start:end]

    def _made(self, index: int) -> tuple[int, ...]:
        example, size = self._examples[index], self._vocabulary
        if example.is_text:
            return stand_ins(example.answer, size)
        made = list(_marks("default system", _default_system(example), size))
        for message in example.messages:
            made += _marks(message.role, BEFORE_TURN, size)
            made += stand_ins(message.content, size)
            made += _marks("end", AFTER_TURN, size)
        return tuple(made[: int(self.lengths[index])])


def _spans(example: Example) -> list[tuple[int, int]]:
    """From where to where tokens carry loss: each answer and what ends it. Nothing stands behind the last."""
    if example.is_text:
        return [(0, token_count(example.answer))]
    place, found = _default_system(example), []
    for message in example.messages:
        start = place + BEFORE_TURN
        end = start + token_count(message.content)
        if message.role == "assistant":
            found.append((start, end + 1))
        place = end + AFTER_TURN
    return found


def _default_system(example: Example) -> int:
    return 0 if example.messages[0].role == "system" else DEFAULT_SYSTEM


@functools.cache
def _marks(name: str, count: int, vocabulary: int) -> tuple[int, ...]:
    first = np.uint64(int(digest(name), 16))
    return _ids(first + np.arange(count, dtype=np.uint64), vocabulary)


def _numbers(values: Iterable[int]) -> Numbers:
    return np.fromiter(values, dtype=np.int64)
