"""What a teacher says of every supervised token: computed once, kept on disk, read while a student trains.

A folder of three arrays and a description, keyed by teacher, texts and settings. ``ids`` and ``log_probs`` are
``(tokens, k)``, the most likely first; ``log_tail`` ``(tokens,)`` is the log of what all other tokens have together.
With all tokens kept there are no ids and no tail, and the log-probabilities are halves: 98 kB a token for a vocabulary
of 49,152, where the best 100 take 800 bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fairtune.data import Encoded
from fairtune.errors import BudgetError
from fairtune.models.likelihood import supervised_logits
from fairtune.models.load import LanguageModel
from fairtune.units import format_bytes

_DESCRIPTION = "lessons.json"


@dataclass(frozen=True)
class Syllabus:
    """What decides the content of lessons, besides the texts. ``teacher`` stands for its weights and precision."""

    teacher: str
    top_k: int | Literal["all"]
    temperature: float

    def key(self, examples: Sequence[Encoded]) -> str:
        """A name for the lessons of these examples: their tokens hold the template and the tokenizer."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for item in examples:
            digest.update(json.dumps([item.id, item.tokens, item.supervised]).encode())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Lesson:
    """Of some tokens: log-probabilities ``(tokens, k)`` in fp32, their ids, and the rest's ``(tokens,)``."""

    log_p: torch.Tensor
    ids: torch.Tensor | None
    log_tail: torch.Tensor


class Lessons:
    """The lessons in a folder, read as they are needed."""

    def __init__(self, folder: Path) -> None:
        described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        self.width: int = described["width"]
        """Tokens of the vocabulary that teacher and student share: columns of logits beyond it are padding."""
        self._starts: dict[str, tuple[int, int]] = {key: tuple(span) for key, span in described["spans"].items()}
        self._log_p = np.load(folder / "log_probs.npy", mmap_mode="r")
        self._ids = np.load(folder / "ids.npy", mmap_mode="r") if (folder / "ids.npy").exists() else None
        self._log_tail = np.load(folder / "log_tail.npy", mmap_mode="r")

    def of(self, batch: Sequence[Encoded], device: torch.device) -> Lesson:
        """The lesson of a batch's supervised tokens, row after row."""
        rows = np.concatenate([np.arange(*self._starts[item.id]) for item in batch])
        log_p = torch.from_numpy(self._log_p[rows].astype(np.float32)).to(device)
        tail = torch.from_numpy(np.array(self._log_tail[rows])).to(device)
        if self._ids is None:
            return Lesson(log_p.log_softmax(-1), None, tail)  # halves do not add up to one exactly
        return Lesson(log_p, torch.from_numpy(self._ids[rows].astype(np.int64)).to(device), tail)


def log_rest(log_p: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log of what all tokens but ``ids`` ``(tokens, k)`` have together, ``(tokens,)``.

    From what is left, not as 1 - sum: that would be lost in rounding where the sum is nearly whole.
    """
    return log_p.scatter(-1, ids, -torch.inf).logsumexp(-1)


def write_lessons(
    model: LanguageModel,
    examples: Sequence[Encoded],
    syllabus: Syllabus,
    folder: Path,
    done: Callable[[int], None] = lambda _: None,
) -> None:
    """Lets a teacher score every supervised token. The folder appears whole, or not at all.

    Raises:
        BudgetError: not enough disk space.
    """
    width = len(model.tokenizer)
    tokens = sum(item.answer_tokens for item in examples)
    kept = width if syllabus.top_k == "all" else min(syllabus.top_k, width)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _require_space(unfinished, tokens * kept * (2 if kept == width else 8))
    arrays = _arrays(unfinished, tokens, kept, width)
    spans = _fill(model, examples, syllabus.temperature, width, arrays, done)
    for array in arrays.values():
        array.flush()
    described = {**asdict(syllabus), "width": width, "tokens": tokens, "spans": spans}
    (unfinished / _DESCRIPTION).write_text(json.dumps(described) + "\n", encoding="utf-8")
    unfinished.rename(folder)


def blank_lessons(examples: Sequence[Encoded], top_k: int | Literal["all"], width: int, folder: Path) -> Path:
    """Lessons of zeros, in which a student's step can be tried: files with holes, which take no room."""
    tokens = sum(item.answer_tokens for item in examples)
    folder.mkdir(parents=True, exist_ok=True)
    for array in _arrays(folder, tokens, width if top_k == "all" else min(top_k, width), width).values():
        array.flush()
    stops = np.cumsum([item.answer_tokens for item in examples]).tolist()
    spans = {item.id: (stop - item.answer_tokens, stop) for item, stop in zip(examples, stops, strict=True)}
    (folder / _DESCRIPTION).write_text(json.dumps({"width": width, "spans": spans}) + "\n", encoding="utf-8")
    return folder


def _arrays(folder: Path, tokens: int, kept: int, width: int) -> dict[str, Any]:
    def create(name: str, kind: Any, shape: tuple[int, ...]) -> Any:
        return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)

    arrays = {"log_tail": create("log_tail", np.float32, (tokens,))}
    if kept == width:
        return {**arrays, "log_probs": create("log_probs", np.float16, (tokens, width))}
    log_probs, ids = create("log_probs", np.float32, (tokens, kept)), create("ids", np.int32, (tokens, kept))
    return {**arrays, "log_probs": log_probs, "ids": ids}


@torch.no_grad()
def _fill(
    model: LanguageModel,
    examples: Sequence[Encoded],
    temperature: float,
    width: int,
    arrays: dict[str, Any],
    done: Callable[[int], None],
) -> dict[str, tuple[int, int]]:
    """Writes the arrays in the order of the micro-batches; returns from where to where each example's tokens lie."""
    model.network.eval()
    spans: dict[str, tuple[int, int]] = {}
    start = heard = 0
    for micro in model.batching_now.cut(examples):
        batch = [examples[row] for row in micro.rows]
        log_p = log_probabilities(model, batch, width, temperature)
        _put(arrays, log_p, start)
        for item in batch:
            spans[item.id] = (start, start + item.answer_tokens)
            start += item.answer_tokens
        heard += len(batch)
        done(heard)
    return spans


def log_probabilities(model: LanguageModel, batch: Sequence[Encoded], width: int, temperature: float) -> torch.Tensor:
    """Of the first ``width`` tokens of the vocabulary, for every supervised token, ``(tokens, width)`` in fp32."""
    logits, _, _ = supervised_logits(model, batch)
    return (logits[:, :width] / temperature).log_softmax(-1)


def _put(arrays: dict[str, Any], log_p: torch.Tensor, start: int) -> None:
    rows = slice(start, start + len(log_p))
    if "ids" not in arrays:
        arrays["log_probs"][rows] = log_p.cpu().numpy()
        arrays["log_tail"][rows] = -np.inf
        return
    best, ids = log_p.topk(arrays["ids"].shape[1], dim=-1)
    arrays["log_probs"][rows], arrays["ids"][rows] = best.cpu().numpy(), ids.cpu().numpy()
    arrays["log_tail"][rows] = log_rest(log_p, ids).cpu().numpy()


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BudgetError(
            f"{folder}: a teacher's log-probabilities need {format_bytes(needed)} and {format_bytes(free)} are free; "
            "lower top_k, or set FAIRTUNE_CACHE to another disk"
        )
