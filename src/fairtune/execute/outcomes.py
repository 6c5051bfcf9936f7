"""What a model does on the items of a task: likelihoods, then answers, then what became of programs among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fairtune.data import Encoded, Splits
from fairtune.evaluate.generation import Answer, write
from fairtune.evaluate.metrics import Outcome, metrics_of
from fairtune.execute.checked import further_answers, seeds, tried
from fairtune.execute.chosen import choose, chooses
from fairtune.execute.confined import runs_code
from fairtune.execute.items import windows_stated
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.results import Stage, Stated
from fairtune.models.likelihood import item_losses
from fairtune.models.load import LanguageModel
from fairtune.study import RunSpec

if TYPE_CHECKING:
    from fairtune.execute.progress import ProgressFile


@dataclass(frozen=True)
class Known:
    """What is known of all items after a stage.

    ``stage``: whose metrics can be had now. ``stated``: what their numbers depend on besides items and metric.
    ``speed``: what is to be added to a record's throughput.
    """

    stage: Stage
    outcomes: list[Outcome]
    stated: Stated = field(default_factory=Stated)
    speed: dict[str, float] = field(default_factory=dict)


def outcomes_of(
    spec: RunSpec,
    model: LanguageModel,
    splits: Splits,
    test: list[Encoded],
    sizes: Sequence[tuple[int, int]] | None,
    context: int | None,
    meter: PhaseMeter,
) -> Iterator[Known]:
    """Every stage that the metrics need, each handed out before the next begins.

    Args:
        test: items of the test part as tokens.
        sizes: words and bytes of each item, where a metric counts by them.
        context: longest sequence of the model without a method's virtual tokens; None if it states none.
    """
    clusters = _clusters(splits)
    outcomes = [Outcome(item.id, item.prompt_hash, item.reference, cluster=clusters(item.id)) for item in test]
    if sizes is not None:
        counted = zip(outcomes, sizes, strict=True)
        outcomes = [replace(outcome, words=words, bytes=size) for outcome, (words, size) in counted]
    if needs(spec, "likelihood"):
        outcomes = _with_losses(spec, model, test, outcomes, meter)
        yield Known("likelihood", outcomes, Stated(windows=windows_stated(spec, splits, context)))
    if not needs(spec, "generation"):
        return
    speed: dict[str, float] = {}
    stated = Stated()
    if chooses(spec):
        answers, choosing = choose(spec, model, splits, meter)
        stated = Stated(choosing=choosing)
    else:
        with meter.phase("generate", len(outcomes)) as progress:
            answers = _first_answers(spec, model, test, progress)
        tokens = sum(answer.tokens for answer in answers)
        speed = {"generate_tokens_per_second": tokens / meter.costs["generate"].seconds}
    outcomes = [_answered(outcome, answer) for outcome, answer in zip(outcomes, answers, strict=True)]
    yield Known("generation", outcomes, stated, speed)
    if runs_code(spec):
        yield Known("programs", _tried(spec, model, splits, test, outcomes, meter))


def _clusters(splits: Splits) -> Callable[[str], str | None]:
    """By the id of an item, its document where it is a window of plain text, else its row's group."""
    if splits.plain_text:
        return lambda item: item.rpartition("@")[0]
    return {example.id: example.group for example in splits.test}.get


def room_for_answers(spec: RunSpec) -> int:
    """Tokens that may be written after a prompt."""
    writes = needs(spec, "generation") and spec.task.task.predict == "generate"
    return spec.task.task.max_new_tokens if writes else 0


def _with_losses(
    spec: RunSpec, model: LanguageModel, test: list[Encoded], outcomes: list[Outcome], meter: PhaseMeter
) -> list[Outcome]:
    with meter.phase("evaluate", len(outcomes)) as progress:
        losses = item_losses(model, test, progress.advance, hits=reads(spec, "hits"))
    return [
        replace(outcome, loss=item.loss, loss_tokens=item.tokens, hits=item.hits)
        for outcome, item in zip(outcomes, losses, strict=True)
    ]


def _first_answers(spec: RunSpec, model: LanguageModel, test: list[Encoded], progress: ProgressFile) -> list[Answer]:
    task, prompts = spec.task.task, [item.prompt for item in test]
    return write(model, prompts, task.max_new_tokens, task.generation, seeds(spec, test, 0), progress.advance)


def _tried(
    spec: RunSpec,
    model: LanguageModel,
    splits: Splits,
    test: list[Encoded],
    outcomes: list[Outcome],
    meter: PhaseMeter,
) -> list[Outcome]:
    """With what became of the programs that were written, after as many further ones as the task asks for."""
    more = len(outcomes) * (spec.task.task.code.samples - 1)
    further: list[tuple[Answer, ...]] = [()] * len(outcomes)
    if more:
        with meter.phase("generate", more) as progress:
            further = further_answers(spec, model, test, progress.advance)
    with meter.phase("check", len(outcomes) + more) as progress:
        return tried(spec, splits, outcomes, further, progress.advance)


def _answered(outcome: Outcome, answer: Answer) -> Outcome:
    return replace(outcome, output=answer.text, output_tokens=answer.tokens, stopped=answer.stopped)


def needs(spec: RunSpec, what: str) -> bool:
    """Whether a metric of the run needs likelihoods, or answers."""
    return any(metric.needs == what for metric in metrics_of(spec).values())


def reads(spec: RunSpec, field: str) -> bool:
    """Whether a metric of the run looks at something that is only counted for it."""
    return any(field in metric.reads for metric in metrics_of(spec).values())
