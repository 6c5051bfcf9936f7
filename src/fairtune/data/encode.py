"""From examples to tokens: the model's own chat template, loss on answers only, the end of turn always learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fairtune.data.examples import Example, Message, digest
from fairtune.errors import DataError

Tokenizer = Any  # transformers' PreTrainedTokenizerBase; this file needs nothing but its public methods


@dataclass(frozen=True)
class Encoded:
    """One example as tokens.

    ``tokens``: prompt, then answers with their end-of-turn token. ``supervised``: which of them carry loss.
    ``prompt_length``: tokens before the last answer, which is where generation starts.
    """

    id: str
    tokens: tuple[int, ...]
    supervised: tuple[bool, ...]
    prompt_length: int
    prompt_hash: str

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
    return [encode(example, tokenizer) for example in examples]


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


def require_context(encoded: Sequence[Encoded], room: int, context: int | None) -> None:
    """Checks that every prompt and answer, and ``room`` new tokens, fit the model's context.

    Raises:
        DataError: some do not.
    """
    if context is None:
        return
    for item in encoded:
        needed = max(len(item.tokens), item.prompt_length + room)
        if needed > context:
            raise DataError(
                f"example {item.id} needs {needed} tokens (prompt {item.prompt_length}, up to {room} new ones) and the "
                f"model's context holds {context}; shorten the prompt, lower task.max_new_tokens, or take another model"
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
    return Encoded(
        item.id,
        item.tokens[:length],
        item.supervised[:length],
        min(item.prompt_length, length),
        item.prompt_hash,
    )


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
    """Each turn of the assistant is a piece of its own, tokenised as it is when the model generates it."""
    pieces: list[tuple[list[int], bool]] = []
    done = start = 0
    text = ""
    for index, message in enumerate(example.messages):
        if message.role != "assistant":
            continue
        before = _render(tokenizer, example.messages[:index], generate=True)
        after = _render(tokenizer, example.messages[: index + 1], generate=False)
        _require_prefix(tokenizer, after, before)
        pieces.append((_ids(tokenizer, before[done:]), False))
        start = sum(len(tokens) for tokens, _ in pieces)
        answer, rest = _split_at_end(_ids(tokenizer, after[len(before) :]), tokenizer)
        pieces += [(answer, True), (rest, False)]
        done, text = len(after), before
    pieces.pop()  # what follows the last end-of-turn token is never seen when generating
    return _assemble(example, pieces, start, text)


def _assemble(example: Example, pieces: list[tuple[list[int], bool]], start: int, text: str) -> Encoded:
    tokens = tuple(token for piece, _ in pieces for token in piece)
    supervised = tuple(learned for piece, learned in pieces for _ in piece)
    return Encoded(example.id, tokens, supervised, start, digest(text))


def _render(tokenizer: Tokenizer, messages: Sequence[Message], generate: bool) -> str:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generate))
    except Exception as error:  # a template is a program of the model's, and may raise anything
        raise DataError(f"the model's chat template refuses the conversation: {error}") from error


def _require_prefix(tokenizer: Tokenizer, whole: str, start: str) -> None:
    if not whole.startswith(start):
        raise DataError(
            "the model's chat template renders a conversation differently once it has an answer, so the answer cannot "
            f"be told from the prompt. Prompt ends in {start[-40:]!r}, conversation reads {whole[: len(start)][-40:]!r}"
        )


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    # The template writes the special tokens itself; adding them again would double the first one.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _split_at_end(tokens: list[int], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The answer up to and with its end-of-turn token, and what the template puts after it."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    last = max((index for index, token in enumerate(tokens) if token in special), default=None)
    if last is not None:
        return tokens[: last + 1], tokens[last + 1 :]
    if tokenizer.eos_token_id is None:
        raise DataError("the chat template ends an answer with no special token, and there is no end-of-sequence token")
    return [*tokens, tokenizer.eos_token_id], []
