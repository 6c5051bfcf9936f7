"""Models scored without training: any model, its adapters, or a run, on benchmarks and on tasks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairtune.data import Examples, Splits, load_splits, require_context
from fairtune.errors import Problem, SpecError
from fairtune.evaluate.metrics import METRICS, Facts, metrics_of
from fairtune.evaluate.sandbox import available
from fairtune.execute.benchmarks import BenchmarkRunner, open_any
from fairtune.execute.progress import Progress, ProgressCall
from fairtune.execute.request import facts_of, unscorable
from fairtune.execute.subject import Asked, Say, Subject, subject_of
from fairtune.records import BenchmarkNote, MetricValue
from fairtune.study import BenchmarkRef, MetricChoice, RunSpec, Task, TaskChoice, load_task
from fairtune.study.yaml_file import keys_of
from fairtune.tasks import TASKS

if TYPE_CHECKING:
    from fairtune.evaluate.harness.tasks import OpenBenchmark
    from fairtune.execute.phases import PhaseMeter
    from fairtune.methods import Tuned

Watch = Callable[[Progress], None]
_YAML = (".yaml", ".yml")
# A file is a task of ours by this key, and else one of lm-eval's.
_OURS = "train"


@dataclass(frozen=True)
class Line:
    """One number of one model."""

    model: str
    metric: str
    value: MetricValue


@dataclass(frozen=True)
class Own:
    """A task of ours with its data."""

    task: Task
    root: Path
    splits: Splits


@dataclass(frozen=True)
class Scores:
    """Everything that came out."""

    lines: tuple[Line, ...]
    notes: tuple[tuple[str, BenchmarkNote], ...]


def score_models(asked: Asked, runs: Path, say: Say, watch: Watch = lambda _: None) -> Scores:
    """Scores a model and its adapters, loading it once. Everything that can be wrong is told before it is loaded.

    Args:
        watch: told how far the model is, a few times a second.

    Raises:
        SpecError: unknown names, or settings that do not suit.
        DataError: data that cannot be had or used.
        ModelError: a model or adapter that cannot be had or used.
        RecordError: a run that has not finished.
    """
    benchmarks, own = _found(asked)
    subject = subject_of(asked, runs)
    from fairtune.execute.phases import PhaseMeter  # with it comes torch; a wrong request is told before

    lines: list[Line] = []
    notes: list[tuple[str, BenchmarkNote]] = []
    runner, meter = BenchmarkRunner(benchmarks), PhaseMeter(ProgressCall(watch))
    for name, tuned, weights in subject.models(say):
        say(f"scoring {name}")
        meter.device = tuned.model.device
        with tuned.scoring():
            runner.require_suited(tuned.model.tokenizer, tuned.model.context)
            for each in runner.run(tuned.model, weights, meter):
                lines += [Line(name, metric, value) for metric, value in each.values().items()]
                notes.append((name, each.note()))
            for task in own:
                lines += [Line(name, metric, value) for metric, value in _task_scores(subject, task, tuned, meter)]
    return Scores(tuple(lines), tuple(notes))


def _found(asked: Asked) -> tuple[list[OpenBenchmark], list[Own]]:
    """The tasks, told apart, with their data."""
    benchmarks: list[OpenBenchmark] = []
    own: list[Own] = []
    problems: list[Problem] = []
    for text in asked.tasks:
        path = TASKS.get(text) or Path(text)
        try:
            if path.suffix in _YAML and _OURS in keys_of(path):
                own.append(_own(load_task(path), path.resolve().parent))
            else:
                ref = BenchmarkRef(benchmark=text, limit=asked.limit, num_fewshot=asked.num_fewshot)
                benchmarks.append(open_any(ref, Path()))
        except SpecError as error:
            problems += [Problem(f"--task {text}", str(problem)) for problem in error.problems]
    own = [dataclasses.replace(each, splits=_limited(each, asked.limit)) for each in own]
    if own and asked.num_fewshot is not None and not benchmarks:
        problems.append(Problem("--num-fewshot", "is for benchmarks; tasks of fairtune's show no examples"))
    if problems:
        raise SpecError(problems)
    return benchmarks, own


def _own(task: Task, root: Path) -> Own:
    splits = load_splits(task, root)
    facts = facts_of(task, splits)
    problems = [
        Problem(f"metrics[{index}]", f"{name} {reason}")
        for index, name in enumerate(task.metrics)
        if (reason := _reason(name, facts))
    ]
    problems += unscorable(splits) if facts.scored else []
    if problems:
        raise SpecError(problems, task.name)
    return Own(task, root, splits)


def _reason(name: str, facts: Facts) -> str | None:
    if name not in METRICS:
        return "is no metric"
    missing = available() if METRICS[name].runs_code else None
    return f"runs programs, and there is no sandbox here: {missing}" if missing else METRICS[name].fits(facts)


def _task_scores(subject: Subject, own: Own, tuned: Tuned, meter: PhaseMeter) -> Iterator[tuple[str, MetricValue]]:
    """The metrics of a task of ours, on its test part.

    Raises:
        DataError: an item is longer than the model reads.
    """
    from fairtune.execute.chosen import require_room_to_choose
    from fairtune.execute.items import scored_items, scored_sizes
    from fairtune.execute.outcomes import outcomes_of, room_for_answers
    from fairtune.execute.results import metric_value, stage_of
    from fairtune.execute.tokens import TokenStore

    model, spec = tuned.model, _spec_for(subject, own)
    context = None if model.context is None else model.context + model.virtual_tokens
    tokens = TokenStore(model.tokenizer).get(own.splits.test).table
    test = scored_items(spec, tokens, context, model.tokenizer)
    require_context(test, room_for_answers(spec), model.context)
    require_room_to_choose(spec, own.splits, model.tokenizer, model.context)
    sizes = scored_sizes(spec, own.splits, tokens, context, model.tokenizer)
    metrics, values = metrics_of(spec), dict[str, MetricValue]()
    for known in outcomes_of(spec, model, own.splits, test, sizes, context, meter):
        for name, metric in metrics.items():
            if stage_of(metric) == known.stage:
                items = [metric.item(outcome) for outcome in known.outcomes]
                values[name] = metric_value(metric, known.outcomes, items, known.stated)
    yield from ((f"{own.task.name}.{name}", values[name]) for name in metrics)


def _spec_for(subject: Subject, own: Own) -> RunSpec:
    metrics = tuple(
        MetricChoice(name=name, version=METRICS[name].version, of_labels=METRICS[name].of_labels)
        for name in own.task.metrics
    )
    splits = own.splits
    task = TaskChoice(task=own.task, root=str(own.root), fingerprint=splits.fingerprint(), labels=splits.labels)
    return subject.spec_for(task, metrics)


def _limited(own: Own, limit: int | None) -> Splits:
    """Of the test items those with the lowest hashes.

    Raises:
        SpecError: plain text, which has no items before a tokenizer cuts it.
    """
    if limit is None or limit >= len(own.splits.test):
        return own.splits
    if own.splits.plain_text:
        raise SpecError(f"--limit {limit}: task '{own.task.name}' is plain text, whose items are windows of tokens")
    hashes = sorted((hashlib.sha256(item.id.encode()).digest(), row) for row, item in enumerate(own.splits.test))
    rows = sorted(row for _, row in hashes[:limit])
    return dataclasses.replace(own.splits, test=Examples.of(own.splits.test[row] for row in rows))
