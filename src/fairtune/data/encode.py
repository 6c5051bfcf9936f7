"""From examples to tokens: the model's own chat template, loss on answers only, the end of turn always learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairtune.data.examples import Example, Message, digest
from fairtune.errors import DataError

Tokenizer = Any  # transformers' PreTrainedTokenizerBase; this file needs nothing but its public methods


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


@dataclass(frozen=True)
class Cut:
    """What a length limit took away."""

    examples: int
    tokens: int


def encode_all(examples: Iterable[Example], tokenizer: Tokenizer) -> list[Encoded]:
    """Every example as tokens, uncut.

    Raises:
        DataError: the chat template cannot be applied so that answers can be told from prompts.
    """
    encode = _encode_chat if tokenizer.chat_template else _encode_plain
    return [(_encode_text if example.is_text else encode)(example, tokenizer) for example in examples]


def cut_to(encoded: Sequence[Encoded], max_length: int) -> tuple[list[Encoded], Cut]:
    """Training examples no longer than ``max_length`` tokens, and what that cost.

    Raises:
        DataError: a prompt leaves no room for even one token of its answer.
    """
    hopeless = [item for item in encoded if not any(item.supervised[1:max_length])]
    if hopeless:
        longest = max(len(item.prompt) for item in hopeless)
        raise DataError(
            f"{len(hopeless)} training examples have prompts that fill training.max_length={max_length} "
            f"(longest prompt: {longest} tokens; first: {hopeless[0].id}); raise max_length or shorten the prompts"
        )
    long = [item for item in encoded if len(item.tokens) > max_length]
    cut = Cut(len(long), sum(len(item.tokens) - max_length for item in long))
    return [_shorten(item, max_length) for item in encoded], cut


def only_last_answer(item: Encoded) -> Encoded:
    """For scoring: earlier answers of a conversation are part of its prompt."""
    start = item.prompt_length
    return replace(item, supervised=(False,) * start + item.supervised[start:])


def require_context(encoded: Sequence[Encoded], room: int, context: int | None) -> None:
    """Checks that every prompt and answer, and ``room`` new tokens, fit the model's context.

    Raises:
        DataError: some do not.
    """
    if context is None:
        return
    for item in encoded:
        # The last token of an answer is predicted, never read.
        needed = max(len(item.tokens) - 1, item.prompt_length + room)
        if needed > context:
            raise DataError(
                f"example {item.id} needs {needed} tokens (prompt {item.prompt_length}, up to {room} new ones) and the "
                f"model's context holds {context}; shorten the prompt, lower task.max_new_tokens (for plain text: "
                "task.window and training.max_length), or take another model"
            )


def stop_tokens(tokenizer: Tokenizer, declared: int | Sequence[int] | None) -> list[int]:
    """Tokens that end an answer: what the chat template puts after one, and what the model declares."""
    found = {tokenizer.eos_token_id} | ({declared} if isinstance(declared, int) else set(declared or ()))
    if tokenizer.chat_template:
        probe = Example("probe", (Message("user", "a"), Message("assistant", "b")))
        found.add(_encode_chat(probe, tokenizer).tokens[-1])
    return sorted(token for token in found if token is not None)


def _shorten(item: Encoded, length: int) -> Encoded:
    if len(item.tokens) <= length:
        return item
    return replace(
        item,
        tokens=item.tokens[:length],
        supervised=item.supervised[:length],
        prompt_length=min(item.prompt_length, length),
    )


def _encode_text(example: Example, tokenizer: Tokenizer) -> Encoded:
    """A document as it is, nothing put before or after it; to be cut into windows."""
    tokens = _ids(tokenizer, example.answer)
    return _assemble(example, [(tokens, True)], 0, "")


def _encode_plain(example: Example, tokenizer: Tokenizer) -> Encoded:
    """A model without a chat template reads the prompt as it is, and ends its answer with the end token."""
    text = "".join(f"{message.content}\n" for message in example.prompt[:-1]) + example.prompt[-1].content
    prompt = list(tokenizer(text)["input_ids"])
    end = tokenizer.eos_token_id
    if end is None:
        raise DataError("the tokenizer has neither a chat template nor an end-of-sequence token; add one of them")
    if len(prompt) > 1 and prompt[-1] == end:
        prompt.pop()
    answer = [*tokenizer(example.answer, add_special_tokens=False)["input_ids"], end]
    return _assemble(example, [(prompt, False), (answer, True)], len(prompt), text)


def _encode_chat(example: Example, tokenizer: Tokenizer) -> Encoded:
    """Loss on every turn of the assistant, or on the last alone where the template rewrites earlier ones."""
    turns = [index for index, message in enumerate(example.messages) if message.role == "assistant"]
    rendered = [_turn(tokenizer, example, index) for index in turns]
    last = rendered[-1]
    _require_prefix(last.after, last.before)
    steps = [text for turn in rendered for text in (turn.before, turn.after)]
    unchanged = all(later.startswith(earlier) for earlier, later in itertools.pairwise(steps))
    kept = rendered if unchanged else [last]
    pieces = _pieces(tokenizer, kept)
    return _assemble(example, pieces[:-1], sum(len(tokens) for tokens, _ in pieces[:-2]), last.before)


@dataclass(frozen=True)
class _Turn:
    """A conversation up to an answer, and with it, as the template writes them."""

    before: str
    after: str
    content: str

    @property
    def tail(self) -> str:
        """What the template puts after the answer's own text."""
        written = self.after[len(self.before) :]
        return written.rpartition(self.content.strip())[2]


def _turn(tokenizer: Tokenizer, example: Example, index: int) -> _Turn:
    before = _render(tokenizer, example.messages[:index], generate=True)
    after = _render(tokenizer, example.messages[: index + 1], generate=False)
    return _Turn(before, after, example.messages[index].content)


def _pieces(tokenizer: Tokenizer, turns: Sequence[_Turn]) -> list[tuple[list[int], bool]]:
    """Prompt, answer with its end of turn, what follows that; for each turn."""
    bounds = [bound for turn in turns for bound in (len(turn.before), len(turn.after))]
    pieces: list[tuple[list[int], bool]] = []
    parts = _tokens_between(tokenizer, turns[-1].after, bounds)
    for turn, prompt, answer in zip(turns, parts[::2], parts[1::2], strict=True):
        learned, rest = _split_at_end(answer, _ids(tokenizer, turn.tail), tokenizer)
        pieces += [(prompt, False), (learned, True), (rest, False)]
    return pieces


def _tokens_between(tokenizer: Tokenizer, text: str, bounds: Sequence[int]) -> list[list[int]]:
    """The text's tokens, cut at character positions.

    Tokenised whole where the text up to each cut gives the same tokens, as it does when the model generates; piece by
    piece elsewhere. (Some tokenizers put a space before every piece that they are given.)
    """
    whole = _ids(tokenizer, text)
    heads = [_ids(tokenizer, text[:bound]) for bound in bounds]
    if all(whole[: len(head)] == head for head in heads):
        cuts = [0, *(len(head) for head in heads)]
        return [whole[start:end] for start, end in itertools.pairwise(cuts)]
    return [_ids(tokenizer, text[start:end]) for start, end in itertools.pairwise([0, *bounds])]


def _assemble(example: Example, pieces: list[tuple[list[int], bool]], start: int, text: str) -> Encoded:
    tokens = tuple(token for piece, _ in pieces for token in piece)
    supervised = tuple(learned for piece, learned in pieces for _ in piece)
    return Encoded(example.id, tokens, supervised, start, digest(text), example.answer)


def _render(tokenizer: Tokenizer, messages: Sequence[Message], generate: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generate, **_FIXED)
    except Exception as error:  # a template is a program of the model's, and may raise anything
        raise DataError(f"the model's chat template refuses the conversation: {error}") from error
    return str(text)


# Some templates write a date, or ask for thoughts before the answer. A score must not depend on the day it was made;
# an answer that is compared with a reference has no thoughts. Other templates ignore both. (A template that calls the
# clock itself is beyond reach; items are paired by their prompts, so its runs of two days are not compared.)
_FIXED = {"enable_thinking": False, "date_string": "26 Jul 2024"}


def _require_prefix(whole: str, start: str) -> None:
    if not whole.startswith(start):
        raise DataError(
            "the model's chat template renders a conversation differently once it has an answer, so the answer cannot "
            f"be told from the prompt. Prompt ends in {start[-40:]!r}, conversation reads {whole[: len(start)][-40:]!r}"
        )


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    # The template writes the special tokens itself; adding them again would double the first one.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _split_at_end(answer: list[int], tail: list[int], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The answer up to and with its end-of-turn token, and what the template puts after that.

    The end of turn is the first special token after the answer's own text: a template may write more behind it.
    """
    special = set(tokenizer.all_special_ids)
    special |= {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    for index in range(max(0, len(answer) - len(tail)), len(answer)):
        if answer[index] in special:
            return answer[: index + 1], answer[index + 1 :]
    if tokenizer.eos_token_id is None:
        raise DataError("the chat template ends an answer with no special token, and there is no end-of-sequence token")
    return [*answer, tokenizer.eos_token_id], []
