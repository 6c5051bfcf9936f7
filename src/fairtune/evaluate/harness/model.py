"""Our model on lm-eval's interface: three kinds of requests, tokenised as lm-eval's own Hugging Face model does.

What is done with the tokens is :mod:`fairtune.evaluate.continuations` and :mod:`fairtune.evaluate.generation`. A test
holds log-likelihoods, greedy flags and answers against ``lm_eval.models.huggingface.HFLM``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from fairtune.errors import DataError, SpecError
from fairtune.evaluate.continuations import Continuation, Likelihood, score_continuations
from fairtune.evaluate.generation import write
from fairtune.evaluate.harness.encoding import Encoder
from fairtune.models.load import LanguageModel
from fairtune.study import Generation

Done = Callable[[int], None]

_ANSWER_TOKENS = 256
# Of what a task may say of generation, what is understood here. lm-eval hands anything else to transformers.
_UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p", "repetition_penalty"}


@dataclass
class Cuts:
    """Requests whose context was longer than the model reads, and the tokens they lost; by lm-eval's task."""

    requests: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def note(self, request: Instance, tokens: int) -> None:
        """``tokens`` were left away from the beginning of a request's context."""
        if tokens > 0:
            self.requests[request.task_name or ""] += 1
            self.tokens[request.task_name or ""] += tokens


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """A :class:`LanguageModel` that answers lm-eval's requests.

    Args:
        max_length: longest input in tokens; the model's own if None.
        add_bos_token: whether the beginning token is put before texts; None for what the tokenizer does.
        prefix_token_id: what an empty context is; the beginning token if None, or else the end token.
        done: told how many requests of a kind are answered.
    """

    def __init__(
        self,
        model: LanguageModel,
        max_length: int | None = None,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        done: Done = lambda _: None,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = model.tokenizer
        self.cuts = Cuts()
        self._max_length = max_length
        self._add_bos = add_bos_token
        self._prefix = prefix_token_id
        self._done = done
        self._encoder = Encoder(self.tokenizer, add_bos_token)

    @property
    def eot_token_id(self) -> int:
        """The end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What the first token of a text is predicted from."""
        if self._prefix is not None:
            return self._prefix
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def max_length(self) -> int:
        """Longest input in tokens."""
        found: int = self._max_length or resolve_max_length(self.model.network.config, self.tokenizer)
        return found - self.model.virtual_tokens

    @property
    def device(self) -> Any:
        """Where the model computes."""
        return self.model.device

    @property
    def tokenizer_name(self) -> str:
        """Names lm-eval's own cache of requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The tokens of one text; no second beginning token where the text has one."""
        return list(self._encode([string], add_special_tokens)[0])

    def _encode(self, texts: Sequence[str], special: bool | None = None) -> list[tuple[int, ...]]:
        begin = self.tokenizer.decode(self.prefix_token_id)
        ways = [False if special is None and text.startswith(begin) else special for text in texts]
        return self._encoder.encode(texts, ways)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Log-likelihood in nats of every continuation after its context, and whether it is what greedy gives.

        Raises:
            DataError: an empty continuation, or one longer than the model reads.
        """
        asked = [self._fitting(request, pair) for request, pair in zip(requests, self._pairs(requests), strict=True)]
        found = [(answer.log_likelihood, answer.greedy) for answer in self._score(asked)]
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return found

    def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> list[tuple[float, bool]]:
        """What lm-eval asks of models that score tokens: pairs of context and continuation, texts aside."""
        asked = [Continuation(tuple(context), tuple(tokens)) for _, context, tokens in requests]
        return [(answer.log_likelihood, answer.greedy) for answer in self._score(asked)]

    def _score(self, asked: Sequence[Continuation]) -> list[Likelihood]:
        return score_continuations(self.model, asked, self._done)

    def _pairs(self, requests: Sequence[Instance]) -> list[Continuation]:
        """Contexts and continuations as tokens.

        Spaces at a context's end go to the continuation, and the continuation is what the tokens of the whole have
        more than those of the context: words are then cut as in running text.
        """
        texts = [_moved(*request.args[:2]) for request in requests]
        whole = iter(self._encode([a + b for a, b in texts if a and not self._encoder.splits_before(a, b)]))
        contexts = iter(self._encode([a for a, _ in texts if a]))
        alone = iter(self._encode([b for a, b in texts if not a or self._encoder.splits_before(a, b)], False))
        found = []
        for context, continuation in texts:
            if not context:
                found.append(self._after_nothing(next(alone)))
                continue
            before = next(contexts)
            apart = self._encoder.splits_before(context, continuation)
            found.append(Continuation(before, next(alone) if apart else next(whole)[len(before) :]))
        return found

    def _after_nothing(self, tokens: tuple[int, ...]) -> Continuation:
        """After an empty context stands the beginning token, unless the text begins with it."""
        if tokens[:1] == (self.prefix_token_id,):
            return Continuation(tokens[:1], tokens[1:])
        return Continuation((self.prefix_token_id,), tokens)

    def _fitting(self, request: Instance, pair: Continuation) -> Continuation:
        """The pair with as much of its context as the model reads: the last token is only predicted."""
        if not 1 <= len(pair.tokens) <= self.max_length:
            what = (
                "is empty" if not pair.tokens else f"has {len(pair.tokens)} tokens; the model reads {self.max_length}"
            )
            raise DataError(
                f"benchmark {request.task_name}, item {request.doc_id}: the answer {request.args[1]!r:.60} {what}"
            )
        over = len(pair.context) + len(pair.tokens) - (self.max_length + 1)
        self.cuts.note(request, over)
        return Continuation(pair.context[max(over, 0) :], pair.tokens)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of whole texts, each token predicted once, in windows of the model's length."""
        texts = self._encode([request.args[0] for request in requests])
        windows = [list(self._windows(tokens)) for tokens in texts]
        scored = iter(self._score([window for each in windows for window in each]))
        found = [sum((next(scored).log_likelihood for _ in each), 0.0) for each in windows]
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return found

    def _windows(self, tokens: Sequence[int]) -> Iterator[Continuation]:
        pairs = get_rolling_token_windows(list(tokens), self.prefix_token_id, self.max_length, 1)
        for context, predicted in map(make_disjoint_window, pairs):
            yield Continuation(tuple(context), tuple(predicted))

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after every context, up to the first of the request's stop texts.

        Raises:
            SpecError: generation settings that are not understood, or leave no room for a context.
        """
        groups: dict[str, list[int]] = {}
        for row, request in enumerate(requests):
            groups.setdefault(repr(sorted(request.args[1].items())), []).append(row)
        found: dict[int, str] = {}
        for rows in groups.values():
            texts = self._write([requests[row] for row in rows], _shifted(self._done, len(found)))
            found.update(zip(rows, texts, strict=True))
        for row, request in enumerate(requests):
            self.cache_hook.add_partial("generate_until", request.args, found[row])
        return [found[row] for row in range(len(requests))]

    def _write(self, requests: Sequence[Instance], done: Done) -> list[str]:
        """Answers of requests with the same settings."""
        how, length = self._settings(requests[0])
        prompts = []
        for request, tokens in zip(requests, self._contexts([request.args[0] for request in requests]), strict=True):
            over = len(tokens) - (self.max_length - length)
            self.cuts.note(request, over)
            prompts.append(tokens[max(over, 0) :])
        answers = write(self.model, prompts, length, how, _seeds(requests), done)
        return [postprocess_generated_text(answer.written, list(how.stop), None) for answer in answers]

    def _contexts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        begin = self.tokenizer.bos_token
        return self._encoder.encode(texts, [False if begin and text.startswith(begin) else None for text in texts])

    def _settings(self, request: Instance) -> tuple[Generation, int]:
        """How answers are written, and how long they may be."""
        given, length = answer_settings(request)
        require_room(request, self.max_length)
        end = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        stop = tuple(text for text in handle_stop_sequences(given["until"], end) if text)
        return _drawn(given, stop), length

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages as the model's own template writes them; without the system's where it refuses that."""
        try:
            return self._templated(chat_history, add_generation_prompt)
        except jinja2.exceptions.TemplateError:
            turns = [message for message in chat_history if message["role"] != "system"]
            return self._templated(turns, add_generation_prompt)

    def _templated(self, turns: list[dict[str, str]], prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=prompt, continue_final_message=not prompt
            )
        )


def answer_settings(request: Instance) -> tuple[Any, int]:
    """lm-eval's settings of an answer, and its longest length in tokens.

    Raises:
        SpecError: settings that are not understood here.
    """
    given = normalize_gen_kwargs(request.args[1], _ANSWER_TOKENS)
    unknown = sorted(set(given) - _UNDERSTOOD)
    if unknown:
        raise SpecError(
            f"benchmark {request.task_name}: generation_kwargs {', '.join(unknown)}: not understood; allowed: "
            f"{', '.join(sorted(_UNDERSTOOD))}"
        )
    return given, int(given["max_gen_toks"])


def require_room(request: Instance, reads: int) -> None:
    """Whether a question has room before its answer.

    Raises:
        SpecError: it has none.
    """
    _, length = answer_settings(request)
    if length >= reads:
        raise SpecError(
            f"benchmark {request.task_name}: answers may have {length} tokens, and the model reads {reads}: nothing is "
            "left for the question; write a smaller generation.max_new_tokens"
        )


def _shifted(done: Done, behind: int) -> Done:
    return lambda more: done(behind + more)


def _moved(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at the end of a context go to the continuation."""
    kept = context.rstrip()
    return (kept, context[len(kept) :] + continuation) if kept else (context, continuation)


def _drawn(given: Any, stop: tuple[str, ...]) -> Generation:
    penalty = float(given.get("repetition_penalty") or 1.0)
    if not given.get("do_sample"):
        return Generation(stop=stop, repetition_penalty=penalty)
    return Generation(
        temperature=float(given.get("temperature", 1.0)),
        top_k=int(given["top_k"]) if given.get("top_k") else None,
        top_p=float(given["top_p"]) if given.get("top_p") else None,
        repetition_penalty=penalty,
        stop=stop,
    )


def _seeds(requests: Sequence[Instance]) -> list[int]:
    """Of each request's draws: its own text decides, and how often it was asked before."""
    seen: Counter[str] = Counter()
    seeds = []
    for request in requests:
        text = request.args[0]
        seeds.append(int.from_bytes(hashlib.sha256(f"{seen[text]} {text}".encode()).digest()[:4], "big"))
        seen[text] += 1
    return seeds
