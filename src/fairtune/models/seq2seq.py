"""A sequence-to-sequence model that translates lines, always by the same rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from fairtune.errors import ModelError
from fairtune.models.load import from_folder
from fairtune.models.shape import positions

_ROWS = 16
# A translation may be longer than its source, and hardly ever by more than this.
_GROWTH, _MORE = 2, 16


@dataclass(frozen=True)
class Decoding:
    """How a model is asked: what stands before every line, the languages, and how wide the search is."""

    instruction: str = ""
    source_language: str | None = None
    target_language: str | None = None
    beams: int = 1


def open_translator(
    folder: Path | None, decoding: Decoding, device: torch.device
) -> Callable[[Sequence[str]], list[str]]:
    """A function from lines to as many lines. Nothing is drawn at random.

    A line that is longer than the model reads stays as it is.

    Raises:
        ModelError: not a sequence-to-sequence model, or one that cannot be read.
    """
    if folder is None:
        raise ModelError("a model from scratch cannot translate")
    config = from_folder(AutoConfig, folder, False)
    if not config.is_encoder_decoder:
        raise ModelError(f"{folder}: is no sequence-to-sequence model (encoder and decoder), and cannot translate")
    tokenizer = from_folder(AutoTokenizer, folder, False)
    network = from_folder(AutoModelForSeq2SeqLM, folder, False, use_safetensors=True, dtype=torch.float32)
    if decoding.source_language is not None:
        tokenizer.src_lang = decoding.source_language
    forced = _forced(tokenizer, decoding, folder)
    return _Opened(network.to(device).eval(), tokenizer, decoding, forced, positions(config)).lines


@dataclass(frozen=True)
class _Opened:
    network: Any
    tokenizer: Any
    decoding: Decoding
    forced: dict[str, int]
    """The token that a translation begins with, for a model of many languages."""
    room: int | None

    def lines(self, lines: Sequence[str]) -> list[str]:
        """Lines of like length together, so that little is padded."""
        said = dict(self._translated(lines))
        return [said.get(index, line) for index, line in enumerate(lines)]

    def _translated(self, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
        tokens = [self.tokenizer(self.decoding.instruction + line)["input_ids"] for line in lines]
        fits = [index for index, found in enumerate(tokens) if self.room is None or len(found) <= self.room]
        order = sorted(fits, key=lambda index: (len(tokens[index]), index))
        for start in range(0, len(order), _ROWS):
            batch = order[start : start + _ROWS]
            yield from zip(batch, self._answers([tokens[index] for index in batch]), strict=True)

    @torch.no_grad()
    def _answers(self, rows: list[list[int]]) -> list[str]:
        given = self.tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(self.network.device)
        longest = _GROWTH * given["input_ids"].shape[1] + _MORE
        made = self.network.generate(
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            do_sample=False,
            num_beams=self.decoding.beams,
            max_new_tokens=longest if self.room is None else min(longest, self.room - 1),
            **self.forced,
        )
        return [str(text) for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)]


def _forced(tokenizer: Any, decoding: Decoding, folder: Path) -> dict[str, int]:
    language = decoding.target_language
    if language is None:
        return {}
    if language not in tokenizer.get_vocab():
        raise ModelError(f"{folder}: target_language '{language}' is no token of the model's; look into its tokenizer")
    return {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(language)}
