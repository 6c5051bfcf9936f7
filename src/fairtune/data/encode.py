"""From examples to tokens: the model's own chat template, loss on answers only, the end of turn always learned."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

from fairtune.data.examples import Example, Message, digest
from fairtune.data.template import Template, template_of
from fairtune.errors import DataError

Tokenizer = Any  # transformers' PreTrainedTokenizerBase; this file needs nothing but its public methods

Tokens: TypeAlias = "array[int]"  # of type "i": four bytes each, and no object until one is looked at

# Characters of a document that are tokenised at once: no tokenizer needs a book's beginning to read its end, and all
# the tokens of one must fit in memory.
LARGEST_DOCUMENT = 1 << 21


@dataclass(frozen=True)
class Encoded:
    """One example as tokens.

    ``tokens``: prompt, then answers with their end-of-turn token. ``supervised``: which of them carry loss.
    ``prompt_length``: tokens before the last answer, which is where generation starts; 0 for a whole document of plain
    text. ``reference``: the last answer as text.
    """

    id: str
    tokens: tuple[int, ...]
    supervised: tuple[bool, ...]
    prompt_length: int
    prompt_hash: str
    reference: str = ""

    @property
    def prompt(self) -> tuple[int, ...]:
        """Tokens the last answer continues."""
        return self.tokens[: self.prompt_length]

    @property
    def answer_tokens(self) -> int:
        """Number of tokens that carry loss. A first token has nothing to be predicted from."""
        return sum(self.supervised[1:])

    @property
    def needed(self) -> int:
        """Tokens that the network must see: those before the last one that carries loss."""
        carries = self.supervised[:0:-1]
        return len(self.tokens) - 1 - carries.index(True) if True in carries else 0

    @property
    def sharable(self) -> int:
        """Tokens before the one that predicts the first supervised one: at most these can be another text's too."""
        carries = self.supervised[1:]
        return carries.index(True) if True in carries else 0


class Line(NamedTuple):
    """One example as a table of tokens keeps it.

    ``runs``: from where to where its tokens carry loss, ``start, end, start, end, …``.
    """

    id: str
    tokens: Sequence[int]
    runs: Sequence[int]
    prompt_length: int
    prompt_hash: str
    reference: str

    def encoded(self) -> Encoded:
        """The example itself."""
        supervised = mask(self.runs, len(self.tokens))
        return Encoded(self.id, tuple(self.tokens), supervised, self.prompt_length, self.prompt_hash, self.reference)


def mask(runs: Sequence[int], length: int) -> tuple[bool, ...]:
    """Which of ``length`` tokens lie in a run."""
    marked = [False] * length
    for start, end in zip(runs[::2], runs[1::2], strict=True):
        marked[start:end] = [True] * (end - start)
    return tuple(marked)


class Reader(Protocol):
    """Whatever turns text into tokens: one text after the other, or those of many examples at once."""

    special: frozenset[int]
    """Tokens that are signs of the template's, not text."""
    end: int | None

    def ids(self, text: str) -> Tokens:
        """The text's tokens, nothing put before or after."""

    def opening(self, text: str) -> Tokens:
        """The text's tokens, with what the tokenizer itself puts around them."""

    def between(self, text: str, bounds: tuple[int, ...]) -> tuple[Tokens, list[int]]:
        """The text's tokens, and how many of them lie before each of some character positions.

        Tokenised whole where the text up to each cut gives the same tokens, as it does when the model generates; piece
        by piece elsewhere. (Some tokenizers put a space before every piece that they are given.)
        """


class OneByOne:
    """Asks the tokenizer for each text by itself: what any faster reader must agree with."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.special = special_ids(tokenizer)
        self.end: int | None = tokenizer.eos_token_id

    def ids(self, text: str) -> Tokens:
        """The text's tokens. A template writes special tokens itself; adding them would double the first one."""
        return array("i", self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def opening(self, text: str) -> Tokens:
        """The text's tokens, with what the tokenizer itself puts around them."""
        return array("i", self._tokenizer(text)["input_ids"])

    def between(self, text: str, bounds: tuple[int, ...]) -> tuple[Tokens, list[int]]:
        """The text's tokens, and how many of them lie before each of some character positions."""
        whole = self.ids(text)
        heads = [self.ids(text[:bound]) for bound in bounds]
        if all(whole[: len(head)] == head for head in heads):
            return whole, [len(head) for head in heads]
        pieces = [self.ids(text[start:end]) for start, end in itertools.pairwise([0, *bounds])]
        return joined(pieces), list(itertools.accumulate(map(len, pieces)))


def joined(pieces: Iterable[Tokens]) -> Tokens:
    """One after the other."""
    tokens = array("i")
    for piece in pieces:
        tokens += piece
    return tokens


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Tokens that are signs, not text."""
    added = {token for token, content in tokenizer.added_tokens_decoder.items() if content.special}
    return frozenset(tokenizer.all_special_ids) | added


def encode_all(examples: Iterable[Example], tokenizer: Tokenizer) -> list[Encoded]:
    """Every example as tokens, uncut, one after the other. A document beyond ``LARGEST_DOCUMENT`` becomes several.

    Raises:
        DataError: the chat template cannot be applied so that answers can be told from prompts.
    """
    reader, template = OneByOne(tokenizer), template_of(tokenizer)
    return [line_of(draft_of(example, template), reader).encoded() for example in in_pieces(examples)]


def in_pieces(examples: Iterable[Example]) -> Iterator[Example]:
    """Documents longer than ``LARGEST_DOCUMENT`` as several, ``ID/0``, ``ID/1``, …; everything else as it is.

    Each ends after the last line end that lies within the limit, or at the limit where there is none.
    """
    for example in examples:
        if not example.is_text or len(example.answer) <= LARGEST_DOCUMENT:
            yield example
            continue
        text, start = example.answer, 0
        for number in itertools.count():
            stop = start + LARGEST_DOCUMENT
            if stop < len(text):
                stop = text.rfind("\n", start, stop) + 1 or stop
            yield Example(f"{example.id}/{number}", (Message("assistant", text[start:stop]),))
            start = stop
            if start >= len(text):
                break


def stop_tokens(tokenizer: Tokenizer, declared: int | Sequence[int] | None) -> list[int]:
    """Tokens that end an answer: what the chat template puts after one, and what the model declares."""
    found = {tokenizer.eos_token_id} | ({declared} if isinstance(declared, int) else set(declared or ()))
    if tokenizer.chat_template:
        probe = Example("probe", (Message("user", "a"), Message("assistant", "b")))
        found.add(encode_all([probe], tokenizer)[0].tokens[-1])
    return sorted(token for token in found if token is not None)


class Turn(NamedTuple):
    """A conversation up to an answer, and with it, as the template writes them."""

    before: str
    after: str
    tail: str
    """What the template puts after the answer's own text."""


class Draft(NamedTuple):
    """An example's texts, to be tokenised.

    ``prompt``: everything before the last answer, as the model reads it. ``turns``: those that carry loss; none for a
    document and for a model without a template.
    """

    example: Example
    prompt: str
    turns: Sequence[Turn] = ()
    bounds: tuple[int, ...] = ()
    """Where answers begin and end in the last turn's text."""


def draft_of(example: Example, template: Template | None) -> Draft:
    """The example's texts: a document as it is; a conversation as the template writes it, or line after line."""
    if example.is_text:
        return Draft(example, "")
    if template is not None:
        return _chat(example, template)
    lines = "".join(f"{message.content}\n" for message in example.prompt[:-1])
    return Draft(example, lines + example.prompt[-1].content)


def _chat(example: Example, template: Template) -> Draft:
    """Loss on every turn of the assistant, or on the last alone where the template rewrites earlier ones."""
    messages = [{"role": message.role, "content": message.content} for message in example.messages]
    turns = [
        _turn(template(messages[:index], True), template(messages[: index + 1], False), message["content"].strip())
        for index, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    last = turns[-1]
    _require_prefix(last.after, last.before)
    steps = [text for turn in turns for text in (turn.before, turn.after)]
    unchanged = all(later.startswith(earlier) for earlier, later in itertools.pairwise(steps))
    kept, bounds = (turns, steps) if unchanged else ([last], steps[-2:])
    return Draft(example, last.before, kept, tuple(map(len, bounds)))


def _turn(before: str, after: str, own: str) -> Turn:
    written = after[len(before) :]
    at = written.rfind(own) if own else -1
    return Turn(before, after, written if at < 0 else written[at + len(own) :])


def line_of(draft: Draft, reader: Reader) -> Line:
    """The example's tokens."""
    example = draft.example
    if example.is_text:  # as it is, nothing put before or after it; to be cut into windows
        tokens = reader.ids(example.answer)
        runs = [0, len(tokens)]
    else:
        tokens, runs = _turns(draft, reader) if draft.turns else _plain(draft, reader)
    return Line(example.id, tokens, runs, runs[-2], digest(draft.prompt), example.answer)


def _turns(draft: Draft, reader: Reader) -> tuple[Tokens, list[int]]:
    """Tokens and runs: each answer with its end of turn. Nothing follows the last."""
    tokens, cuts = reader.between(draft.turns[-1].after, draft.bounds)
    runs: list[int] = []
    added = 0
    for turn, before, after in zip(draft.turns, cuts[::2], cuts[1::2], strict=True):
        start, stop = before + added, after + added
        end = _end_of_turn(tokens, max(start, stop - len(reader.ids(turn.tail))), stop, reader)
        if end is None:
            tokens.insert(stop, _end_token(reader))
            end, added = stop, added + 1
        runs += (start, end + 1)
    del tokens[runs[-1] :]
    return tokens, runs


def _plain(draft: Draft, reader: Reader) -> tuple[Tokens, list[int]]:
    """A model without a chat template reads the prompt as it is, and ends its answer with the end token."""
    if reader.end is None:
        raise DataError("the tokenizer has neither a chat template nor an end-of-sequence token; add one of them")
    prompt = reader.opening(draft.prompt)
    if len(prompt) > 1 and prompt[-1] == reader.end:
        prompt = prompt[:-1]
    tokens = prompt + reader.ids(draft.example.answer) + array("i", [reader.end])
    return tokens, [len(prompt), len(tokens)]


def _require_prefix(whole: str, start: str) -> None:
    if not whole.startswith(start):
        raise DataError(
            "the model's chat template renders a conversation differently once it has an answer, so the answer cannot "
            f"be told from the prompt. Prompt ends in {start[-40:]!r}, conversation reads {whole[: len(start)][-40:]!r}"
        )


def _end_of_turn(tokens: Tokens, start: int, stop: int, reader: Reader) -> int | None:
    """Where the end of turn stands: it is the first special token after the answer's own text, if there is one.

    A template may write more behind it.

    Args:
        start: where what the template puts after the answer's own text begins.
        stop: where that ends.
    """
    for index in range(start, stop):
        if tokens[index] in reader.special:
            return index
    return None


def _end_token(reader: Reader) -> int:
    if reader.end is None:
        raise DataError("the chat template ends an answer with no special token, and there is no end-of-sequence token")
    return reader.end
