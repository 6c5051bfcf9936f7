"""A run's data as its model reads them: what it is trained and scored on, and what an export of it is compared on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairtune.data import Encoded, Items, Splits, Windows, load_splits, only_last_answer, text_sizes, windows
from fairtune.data.diagnose import Material, diagnose
from fairtune.errors import DataError
from fairtune.evaluate.metrics import metrics_of
from fairtune.execute.tokens import TokenStore
from fairtune.records import DataFinding
from fairtune.study import RunSpec


@dataclass(frozen=True)
class Parts:
    """The three parts of a task as tokens, uncut."""

    train: Items
    validation: Items
    test: Items

    @property
    def longest(self) -> int:
        """Tokens of the longest example of any part: every run of a study must compute attention the same way."""
        return max(int(part.lengths.max()) for part in (self.train, self.validation, self.test) if len(part))


def own_splits(spec: RunSpec) -> Splits:
    """The data that the run was planned on.

    Raises:
        DataError: they have changed.
    """
    splits = load_splits(spec.task.task, Path(spec.task.root))
    if splits.fingerprint() != spec.task.fingerprint:
        raise DataError(
            f"task '{spec.task.task.name}': its data changed since the run was planned; put them back, or run the "
            "study again"
        )
    return splits


def training_texts(splits: Splits) -> Iterator[str]:
    """What a tokenizer that is made from the training part is made from."""
    return (message.content for example in splits.train for message in example.messages)


def encode_parts(splits: Splits, tokenizer: Any) -> Parts:
    """Every example as tokens."""
    store = TokenStore(tokenizer)
    return Parts(*(store.get(part).table for part in (splits.train, splits.validation, splits.test)))


def training_findings(
    spec: RunSpec, splits: Splits, train: Sequence[Encoded], tokenizer: Any, context: int | None
) -> tuple[DataFinding, ...]:
    """What is wrong with the training examples as the run's model reads them; nothing for a run that does not train."""
    if spec.training is None:
        return ()
    material = Material(splits.train, train, tokenizer, spec.training.max_length, context, spec.model.name)
    return tuple(DataFinding(**asdict(finding)) for finding in diagnose(material, quick=True))


def cut_windows(
    items: Sequence[Encoded], length: int, context: int | None, tokenizer: Any, stride: int | None = None
) -> Items:
    """Documents in windows of as many tokens, or as the model reads at once and the one that follows."""
    return windows(items, length if context is None else min(length, context + 1), tokenizer.decode, stride)


def scored_items(spec: RunSpec, test: Sequence[Encoded], context: int | None, tokenizer: Any) -> list[Encoded]:
    """The items that carry a run's scores.

    They do not depend on the recipe, so that all runs of a model have the same.
    """
    return [only_last_answer(item) for item in _scored_windows(spec, test, context, tokenizer)]


def scored_sizes(
    spec: RunSpec, splits: Splits, test: Sequence[Encoded], context: int | None, tokenizer: Any
) -> list[tuple[int, int]] | None:
    """Words and bytes of each of those items, where a metric counts by them."""
    counted = {field for metric in metrics_of(spec).values() for field in metric.reads}
    cut = _scored_windows(spec, test, context, tokenizer)
    if not counted & {"words", "bytes"} or not isinstance(cut, Windows):
        return None
    return text_sizes(cut, splits.test, tokenizer)


def windows_stated(spec: RunSpec, splits: Splits, context: int | None) -> str | None:
    """In what windows plain text is scored, on which its likelihood depends; None where there are answers."""
    if not splits.plain_text:
        return None
    asked = spec.task.task
    window = asked.window if context is None else min(asked.window, context)
    return f"window:{window}|stride:{min(asked.stride or window, window)}"


def _scored_windows(spec: RunSpec, test: Sequence[Encoded], context: int | None, tokenizer: Any) -> Items:
    task = spec.task.task
    return cut_windows(test, task.window + 1, context, tokenizer, task.stride)
