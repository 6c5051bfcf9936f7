"""Augmentation of a run's training part: resolved when the study is read, done after the leak check."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.data import Encoded, Splits
from fairtune.data.augment import AUGMENTATIONS, Added, Instruction, Tools, Translator, add_encoded, add_examples
from fairtune.data.augment import Augmentation as Kind
from fairtune.data.shapes.labels import listed
from fairtune.data.tokens.stream import lines_of
from fairtune.errors import DataError, Problem
from fairtune.models import cache_folder, fetch, identify
from fairtune.records import Augmentation
from fairtune.study import AugmentChoice, ModelChoice, RunSpec

if TYPE_CHECKING:
    import torch

    from fairtune.execute.items import Parts

# Lines that a model translates before they are kept on disk.
_AT_ONCE = 256


def resolve_augment(choice: AugmentChoice, root: Path, weights: bool = True) -> AugmentChoice:
    """The choice with what stands for the files and models that it uses.

    Args:
        weights: whether models must have any, as they must to be run.

    Raises:
        SpecError: a file is missing or wrong.
        ModelError: a model cannot be found.
    """
    kind = AUGMENTATIONS[choice.name]
    options = kind.options.model_validate(choice.options)
    models = {name: identify(ref, root, weights) for name, ref in kind.models(options).items()}
    chosen = {key: value for key, value in choice.chosen.items() if key not in kind.places}
    return choice.model_copy(
        update={
            "root": str(root),
            "models": models,
            "chosen": chosen,
            "fingerprint": _stands_for(kind, options, root, models),
        }
    )


def _stands_for(kind: Kind, options: Any, root: Path, models: Mapping[str, ModelChoice]) -> str:
    parts = [kind.fingerprint(options, root), *(f"{name} {model.fingerprint}" for name, model in models.items())]
    return "; ".join(part for part in parts if part)


def beyond_data(choices: Iterable[AugmentChoice | None], splits: Splits) -> list[Problem]:
    """Why these data cannot be augmented as asked."""
    asked = [choice for choice in choices if choice is not None]
    if asked and any(example.is_text for example in splits.train):
        return [Problem("augment", "changes what is asked, and plain text asks nothing; leave `augment` out")]
    return [
        Problem(f"augment.{choice.name}.answers", "the answers are labels, and another label is another answer")
        for choice in asked
        if splits.labels and choice.options.get("answers")
    ]


@dataclass(frozen=True)
class Grown:
    """The copies as tokens, uncut, and their account; no copies and None where nothing was asked for."""

    items: list[Encoded]
    account: Augmentation | None = None

    def with_room(self, length: int) -> Grown:
        """Without those whose prompt leaves no room for an answer; what was so long before is told elsewhere."""
        kept = [item for item in self.items if any(item.supervised[1:length])]
        if self.account is None or len(kept) == len(self.items):
            return self
        lost = {"added": len(kept), "no_room": len(self.items) - len(kept)}
        return Grown(kept, self.account.model_copy(update=lost))


def grow(spec: RunSpec, splits: Splits, parts: Parts, tokenizer: Any, device: torch.device) -> Grown:
    """Changed copies of the training examples, decided by the run's seed and their content.

    The method has no say in it, nor the model where words are changed: what is compared must have learned the same.

    Raises:
        DataError: a translating command fails; files have changed since the run was planned.
        ModelError: a translating model cannot be read.
    """
    choice = spec.augment
    if choice is None:
        return Grown([])
    started = time.perf_counter()
    found = _added(choice, spec, splits, parts, tokenizer, device)
    account = Augmentation(
        kind=choice.name,
        label=choice.label,
        originals=len(splits.train),
        asked=len(found.items) + found.not_made,
        added=len(found.items),
        not_made=found.not_made,
        held_out=found.held_out,
        seconds=time.perf_counter() - started,
    )
    return Grown(list(found.items), account)


def _added(
    choice: AugmentChoice, spec: RunSpec, splits: Splits, parts: Parts, tokenizer: Any, device: torch.device
) -> Added[Encoded]:
    kind = AUGMENTATIONS[choice.name]
    instruction = Instruction(
        spec.task.task.prompt.template, frozenset([listed(splits.labels)] if splits.labels else [])
    )
    options: Any = kind.options.model_validate(choice.options)
    if _stands_for(kind, options, Path(choice.root), choice.models) != choice.fingerprint:
        raise DataError(f"augment.{choice.name}: its files changed since the run was planned; run the study again")
    if kind.tokens is not None:
        held = [*parts.validation, *parts.test]
        return add_encoded(kind, splits.train, parts.train, options, spec.seed, tokenizer, held, instruction)
    tools = Tools(Path(choice.root), cache_folder(), _translators(choice, device))
    questions = [*splits.validation, *splits.test]
    made = add_examples(kind, splits.train, options, spec.seed, tools, questions, instruction)
    return Added(tuple(line.encoded() for line in lines_of(made.items, tokenizer)), made.not_made, made.held_out)


def _translators(choice: AugmentChoice, device: torch.device) -> Callable[[str, Mapping[str, Any]], Translator]:
    def translator(option: str, way: Mapping[str, Any]) -> Translator:
        model = choice.models[option]
        settings = {key: way[key] for key in ("instruction", "source_language", "target_language", "beams")}

        @functools.cache
        def opened() -> Callable[[Sequence[str]], list[str]]:
            """Read when there is a line that the cache does not have."""
            from fairtune.models.seq2seq import Decoding, open_translator

            return open_translator(fetch(model, print), Decoding(**settings), device)

        def translate(lines: Sequence[str]) -> list[str]:
            return opened()(lines)

        identity = f"{model.fingerprint} {sorted(settings.items())}"
        return Translator(identity, translate, _AT_ONCE)

    return translator
