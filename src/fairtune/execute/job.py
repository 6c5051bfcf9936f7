"""One run, from its RunSpec to its RunRecord: load, train, evaluate, generate, each measured by itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fairtune.data import (
    Cut,
    Encoded,
    Items,
    Splits,
    cut_to,
    join,
    require_context,
)
from fairtune.evaluate.sampling import sample
from fairtune.execute.augment import grow
from fairtune.execute.benchmarks import BenchmarkRunner, score_benchmarks, write_benchmark
from fairtune.execute.chosen import require_room_to_choose
from fairtune.execute.curve import curve_writer
from fairtune.execute.items import (
    cut_windows,
    encode_parts,
    own_splits,
    scored_items,
    scored_sizes,
    training_findings,
    training_texts,
)
from fairtune.execute.leaks import find_leaks, leakage_of
from fairtune.execute.outcomes import outcomes_of, room_for_answers
from fairtune.execute.phases import PhaseMeter, release_memory
from fairtune.execute.restore import open_base
from fairtune.execute.results import score
from fairtune.execute.resume import Attempt
from fairtune.execute.teacher import prepare_lessons
from fairtune.methods import METHODS, Course, Tuned
from fairtune.models import fetch
from fairtune.models.device import choose_device, device_of_rank
from fairtune.models.load import LanguageModel
from fairtune.models.opening import context_of, open_tokenizer
from fairtune.models.quantize import parameter_count, weight_bytes
from fairtune.records import (
    Augmentation,
    BadRows,
    BenchmarkNote,
    DataFinding,
    EarlyStop,
    Leakage,
    LossScaling,
    MetricValue,
    Parameters,
    Pruned,
    Resumption,
    RunFolder,
    Selection,
    Throughput,
    TokenCounts,
    write_lines,
)
from fairtune.study import RunSpec, Training
from fairtune.train.loop import Limits, TrainingResult, train
from fairtune.train.parallel import ALONE, World, join_ranks
from fairtune.train.scaling import Scaling

# Enough to begin somewhere, and little enough that the rest is the model's own.
_SAMPLES_START = 8


@dataclass
class Happened:
    """What is known of a run so far; a failed run keeps what it had."""

    metrics: dict[str, MetricValue] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=lambda: Throughput(reason="no training"))
    tokens: TokenCounts | None = None
    parameters: Parameters | None = None
    leakage: Leakage | None = None
    augmentation: Augmentation | None = None
    bad_rows: BadRows | None = None
    data_findings: tuple[DataFinding, ...] = ()
    benchmarks: tuple[BenchmarkNote, ...] = ()
    selection: Selection | None = None
    loss_scaling: LossScaling | None = None
    resumed: tuple[Resumption, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A task as tokens of one model, and where that model lies (None for one from scratch).

    ``longest``: tokens of the longest example; decides how attention is computed.
    """

    folder: Path | None
    tokenizer: Any
    context: int | None
    longest: int
    train: Items
    validation: Items
    test: list[Encoded]
    cut: Cut
    sizes: list[tuple[int, int]] | None = None
    """Words and bytes of each scored item, where a metric counts by them."""


def run_job(spec: RunSpec, folder: RunFolder, meter: PhaseMeter, happened: Happened) -> None:
    """Does the run; what comes out is left in ``happened`` and in the run's folder.

    Raises:
        FairtuneError: the run cannot be done as asked, or diverged.
    """
    world = _world(spec, meter)
    # Lm-eval, its data and its requests are no part of loading a model, and only rank 0 scores.
    benchmarks = BenchmarkRunner.of(() if world.group.rank else spec.benchmarks)
    with meter.phase("load"):
        splits = _splits(spec, happened)
        prepared = _prepare(spec, splits, meter, happened)
        _require_context(spec, splits, prepared)
        benchmarks.require_suited(prepared.tokenizer, prepared.context)
        benchmarks.seek_in(splits, spec.task.fingerprint)
    lessons = prepare_lessons(spec, folder, prepared.train, prepared.tokenizer, prepared.longest, meter)
    course = Course(spec.seed, _updates(spec, prepared), lessons)
    tuned = _attached(spec, prepared, course, meter)
    happened.parameters = _count(tuned.model.network)
    reason = tuned.model.padded_because
    print(f"texts have a row each, padded: {reason}" if reason else "texts lie end to end in one row")
    if spec.training is not None:
        _train(spec.training, spec, folder, tuned, prepared, course, meter, happened, world)
        meter.widen(world.group.largest)
        if spec.trial is None:
            tuned = world.whole(tuned, lambda: _attached(spec, prepared, course, meter))
        world.group.close()
        if world.group.rank:
            del tuned, prepared
            release_memory(meter.device)  # torch's launcher keeps this process until the last has ended
            return
        if spec.trial is not None:
            return  # the validation loss is all that it is for: no weights are kept, nothing of the test part is seen
        artifact = METHODS[spec.method.name].acting(spec.method.options).artifact
        if artifact:
            tuned.save(folder.path / artifact)
    with tuned.scoring():
        _score(spec, folder, tuned.model, splits, prepared, meter, happened)
        if splits.plain_text:
            _sample(spec, folder, tuned.model, prepared, meter)
        _score_benchmarks(benchmarks, spec, folder, tuned.model, meter, happened)


def _world(spec: RunSpec, meter: PhaseMeter) -> World:
    """Who shares the training, each with a device of its own."""
    device = choose_device(spec.budget.device)
    if spec.ranks == 1:
        meter.device = device
        return ALONE
    meter.device = device_of_rank(device, int(os.environ["LOCAL_RANK"]), spec.parallel.processes)
    return join_ranks(spec.parallel, meter.device)


def _attached(spec: RunSpec, prepared: Prepared, course: Course, meter: PhaseMeter) -> Tuned:
    """The model as training begins with it."""
    with meter.phase("load"):
        model = open_base(spec, prepared.folder, prepared.tokenizer, meter.device, prepared.longest)
        tuned = METHODS[spec.method.name].attach(model, spec.method.options, course)
        tuned.model.batching = tuned.model.batching.within(spec.budget.batch_tokens)
        return tuned


def _splits(spec: RunSpec, happened: Happened) -> Splits:
    splits = own_splits(spec)
    if splits.bad_rows.count:
        happened.bad_rows = BadRows(count=splits.bad_rows.count, listed=splits.bad_rows.listed)
    found = find_leaks(spec.task.task, splits, spec.task.fingerprint)
    happened.leakage = leakage_of(found, spec.allow_leakage)
    return splits


def _prepare(spec: RunSpec, splits: Splits, meter: PhaseMeter, happened: Happened) -> Prepared:
    """Training and validation cut to the recipe's length; test items never. Documents are cut into windows.

    Changed copies of training examples stand behind the originals.
    """
    folder = fetch(spec.model, print)
    tokenizer = open_tokenizer(spec.model, folder, training_texts(splits))
    parts = encode_parts(splits, tokenizer)
    context = context_of(spec.model, folder)
    happened.data_findings = training_findings(spec, splits, parts.train, tokenizer, context)
    for finding in happened.data_findings:
        print(f"data: {finding.severity} {finding.name} in {finding.count} training examples: {finding.text}")
    train, validation, cut = parts.train, parts.validation, Cut(0, 0)
    if spec.training is not None:
        length = spec.training.max_length
        grown = grow(spec, splits, parts, tokenizer, meter.device).with_room(length)
        happened.augmentation = grown.account
        train, cut = cut_to(join(cut_windows(train, length, context, tokenizer), grown.items), length)
        validation, _ = cut_to(cut_windows(validation, length, context, tokenizer), length)
    scored = scored_items(spec, parts.test, context, tokenizer)
    sizes = scored_sizes(spec, splits, parts.test, context, tokenizer)
    return Prepared(folder, tokenizer, context, parts.longest, train, validation, scored, cut, sizes)


def _require_context(spec: RunSpec, splits: Splits, prepared: Prepared) -> None:
    """Everything must fit, with the tokens that a method puts before the text."""
    virtual = METHODS[spec.method.name].virtual_tokens(spec.method.options)
    context = None if prepared.context is None else prepared.context - virtual
    if spec.training is not None:
        require_context(prepared.train, 0, context)
        require_context(prepared.validation, 0, context)
    require_context(prepared.test, room_for_answers(spec), context)
    require_room_to_choose(spec, splits, prepared.tokenizer, context)


def _updates(spec: RunSpec, prepared: Prepared) -> int:
    return spec.training.total_updates(len(prepared.train)) if spec.training else 0


def _train(
    training: Training,
    spec: RunSpec,
    folder: RunFolder,
    tuned: Tuned,
    prepared: Prepared,
    course: Course,
    meter: PhaseMeter,
    happened: Happened,
    world: World,
) -> None:
    group = world.group
    scratch = folder.checkpoints / f"best-{group.rank}.safetensors"
    scratch.parent.mkdir(exist_ok=True)
    with meter.phase("train", course.updates) as progress, curve_writer(folder, progress, group.rank) as curve:
        attempt = Attempt(spec, folder, course, meter, curve, group)
        happened.resumed = attempt.resumed
        parts, kept = (prepared.train, prepared.validation), attempt.checkpoints
        limits = spec.trial.limits if spec.trial else ()
        result = train(tuned, *parts, training, spec.seed, scratch, curve, kept, world, limits)
    happened.tokens = _token_counts(result, prepared.cut, tuned.model.batching.packed)
    happened.throughput = Throughput(train_tokens_per_second=result.tokens / result.update_seconds)
    happened.selection = _selection(result, training, course.updates, limits)
    happened.loss_scaling = _scaled(result.scaling, result.updates)


def _selection(result: TrainingResult, training: Training, planned: int, limits: Limits) -> Selection:
    losses, stopped, pruned = result.validation_losses, None, None
    at = {"epoch": len(losses), "update": result.updates, "planned": planned}
    if result.pruned:
        pruned = Pruned.model_validate({**at, "loss": min(losses), "limit": limits[len(losses) - 1]})
    elif training.early_stopping is not None and result.updates < planned:
        stopped = EarlyStop(patience=training.early_stopping, **at)
    rule = "lowest validation loss" if training.keep == "best" else "last epoch"
    found = {"best_epoch": result.best_epoch, "validation_losses": losses}
    return Selection.model_validate({**found, "rule": rule, "stopped": stopped, "pruned": pruned})


def _scaled(scaling: Scaling | None, updates: int) -> LossScaling | None:
    if scaling is None or scaling.scale is None:
        return None
    return LossScaling(skipped_updates=scaling.skipped, updates=updates, scale=scaling.scale)


def _token_counts(result: TrainingResult, cut: Cut, packed: bool) -> TokenCounts:
    return TokenCounts(
        train=result.tokens,
        supervised=result.supervised,
        computed=result.computed,
        padding=result.padding,
        packed=packed,
        cut_examples=cut.examples,
        cut_tokens=cut.tokens,
    )


def _score(
    spec: RunSpec,
    folder: RunFolder,
    model: LanguageModel,
    splits: Splits,
    prepared: Prepared,
    meter: PhaseMeter,
    happened: Happened,
) -> None:
    """The task's own metrics, each as soon as it can be had: what goes wrong later takes none of them away."""
    found: dict[str, MetricValue] = {}
    for known in outcomes_of(spec, model, splits, prepared.test, prepared.sizes, prepared.context, meter):
        found.update(score(spec, known.outcomes, folder, known.stage, known.stated))
        happened.metrics = {name: found[name] for name in spec.scores if name in found}
        happened.throughput = happened.throughput.model_copy(update=known.speed)


def _score_benchmarks(
    runner: BenchmarkRunner,
    spec: RunSpec,
    folder: RunFolder,
    model: LanguageModel,
    meter: PhaseMeter,
    happened: Happened,
) -> None:
    """One benchmark after the other; what is scored stays scored."""
    for scored in score_benchmarks(runner, spec, folder, model, meter):
        happened.metrics |= write_benchmark(spec, scored, folder)
        happened.benchmarks += (scored.note(),)


def _sample(spec: RunSpec, folder: RunFolder, model: LanguageModel, prepared: Prepared, meter: PhaseMeter) -> None:
    """Lets the model go on from the first tokens of the test text, the same for every run of the model."""
    asked = spec.task.task.samples
    if not asked.count:
        return
    start = prepared.test[0].tokens[:_SAMPLES_START]
    with meter.phase("generate"):
        found = sample(model, start, asked.count, asked.tokens, asked.temperature, spec.seed)
    rows = [
        {"sample": index, "seed": spec.seed, "start": text.start, "text": text.text} for index, text in enumerate(found)
    ]
    write_lines(folder.samples, rows)


def _count(network: torch.nn.Module) -> Parameters:
    parameters = list(network.parameters())
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return Parameters(
        total=sum(parameter_count(parameter) for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in trainable),
        weight_bytes=weight_bytes(parameters),
        trainable_bytes=weight_bytes(trainable),
    )
