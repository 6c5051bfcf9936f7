"""Models scored without training: any model, its adapters, or a run, on benchmarks and on tasks."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairtune.data import Examples, Splits, load_splits
from fairtune.errors import Problem, SpecError
from fairtune.evaluate.metrics import METRICS, Facts, metrics_of
from fairtune.evaluate.sandbox import available
from fairtune.execute.benchmarks import BenchmarkRunner, open_any, weights_key
from fairtune.execute.find import find_run, finished
from fairtune.execute.request import facts_of, unscorable
from fairtune.methods import METHODS
from fairtune.methods.folder import require_adapter, wearing
from fairtune.models import identify
from fairtune.records import BenchmarkNote, MetricValue, RunFolder
from fairtune.study import (
    BenchmarkChoice,
    BenchmarkRef,
    Budget,
    MethodChoice,
    MetricChoice,
    ModelRef,
    Precision,
    RunSpec,
    Task,
    TaskChoice,
    load_task,
)
from fairtune.study.yaml_file import read_yaml
from fairtune.tasks import TASKS

if TYPE_CHECKING:
    from fairtune.methods import Tuned
    from fairtune.models.load import LanguageModel

Say = Callable[[str], None]
_YAML = (".yaml", ".yml")
# A file is a task of ours by this key, and else one of lm-eval's.
_OURS = "train"
_NO_TASK = Task(name="none", train="none")


@dataclass(frozen=True)
class Asked:
    """What is to be scored, on what.

    Attributes:
        model: as in a study, or a run's folder, or the beginning of its id.
        tasks: benchmarks, shipped tasks, or files of either.
        adapters: folders in PEFT's layout, scored over the model one after the other, after the model itself.
        limit: items of each task.
        precision: None for the run's own, or fp32.
    """

    model: str
    tasks: tuple[str, ...]
    adapters: tuple[Path, ...] = ()
    limit: int | None = None
    num_fewshot: int | None = None
    precision: Precision | None = None
    device: str = "auto"


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


def score_models(asked: Asked, runs: Path, say: Say) -> Scores:
    """Scores a model and its adapters, loading it once. Everything that can be wrong is told before it is loaded.

    Raises:
        SpecError: unknown names, or settings that do not suit.
        DataError: data that cannot be had or used.
        ModelError: a model or adapter that cannot be had or used.
        RecordError: a run that has not finished.
    """
    for adapter in asked.adapters:
        require_adapter(adapter)
    benchmarks, own = _found(asked)
    subject = _subject(asked, runs)
    lines: list[Line] = []
    notes: list[tuple[str, BenchmarkNote]] = []
    runner = BenchmarkRunner(benchmarks)
    for name, tuned, weights in subject.models(say):
        say(f"scoring {name}")
        with tuned.scoring():
            runner.require_suited(tuned.model.tokenizer, tuned.model.context)
            for each in runner.run(tuned.model, weights):
                lines += [Line(name, metric, value) for metric, value in each.values().items()]
                notes.append((name, each.note()))
            for task in own:
                lines += [Line(name, metric, value) for metric, value in _task_scores(subject, task, tuned)]
    return Scores(tuple(lines), tuple(notes))


def _found(asked: Asked) -> tuple[list[BenchmarkChoice], list[Own]]:
    """The tasks, told apart, with their data."""
    benchmarks: list[BenchmarkChoice] = []
    own: list[Own] = []
    problems: list[Problem] = []
    for text in asked.tasks:
        path = TASKS.get(text) or Path(text)
        try:
            if path.suffix in _YAML and _OURS in read_yaml(path):
                own.append(_own(load_task(path), path.resolve().parent))
            else:
                ref = BenchmarkRef(benchmark=text, limit=asked.limit, num_fewshot=asked.num_fewshot)
                benchmarks.append(open_any(ref, Path()).choice)
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


@dataclass(frozen=True)
class Subject:
    """What is scored: a spec of it, and the run's folder where it is a run."""

    spec: RunSpec
    folder: RunFolder | None
    adapters: tuple[Path, ...]

    def models(self, say: Say) -> Iterator[tuple[str, Tuned, str]]:
        """Every model in turn: its name, the model, and what stands for its weights."""
        from fairtune.execute.restore import saved_by

        if self.folder is not None:
            saved = saved_by(self.spec, self.folder)
            yield (
                f"{self.spec.cell} (run {self.spec.run_id})",
                self._restored(self.folder, say),
                weights_key(self.spec, saved),
            )
            return
        model = self._opened(say)
        yield self.spec.model.name, _plain(model), weights_key(self.spec, None)
        for adapter in self.adapters:
            with wearing(model, adapter) as tuned:
                yield f"{self.spec.model.name} + {adapter}", _unmerged(tuned), weights_key(self.spec, adapter)

    def _restored(self, folder: RunFolder, say: Say) -> Tuned:
        from fairtune.execute.restore import restore_run
        from fairtune.models.device import choose_device

        return restore_run(self.spec, folder, choose_device(self.spec.budget.device), self._longest(say), say)

    def _opened(self, say: Say) -> LanguageModel:
        from fairtune.execute.restore import open_base
        from fairtune.models import fetch
        from fairtune.models.device import choose_device
        from fairtune.models.opening import open_tokenizer

        weights = fetch(self.spec.model, say)
        tokenizer = open_tokenizer(self.spec.model, weights, ())
        return open_base(self.spec, weights, tokenizer, choose_device(self.spec.budget.device), self._longest(say))

    def _longest(self, say: Say) -> int:
        from fairtune.evaluate.harness.opening import LONGEST
        from fairtune.models import fetch
        from fairtune.models.opening import context_of

        return context_of(self.spec.model, fetch(self.spec.model, say)) or LONGEST


def _plain(model: LanguageModel) -> Tuned:
    from fairtune.methods import Tuned

    return Tuned(model)


def _unmerged(tuned: Tuned) -> Tuned:
    """Scored as it lies on the base: taking a merged adapter out again leaves roundings for the next one."""
    return _plain(tuned.model)


def _subject(asked: Asked, runs: Path) -> Subject:
    run = _run(asked, runs)
    if run is not None:
        record = finished(run)
        if asked.adapters:
            raise SpecError(f"{asked.model} is a run: it has an adapter of its own, or none; --adapter is for models")
        if asked.precision not in (None, record.spec.precision):
            raise SpecError(f"--precision {asked.precision}: run {record.run_id} is one of {record.spec.precision}")
        return Subject(record.spec.model_copy(update={"budget": Budget(device=asked.device)}), run, ())
    choice = identify(ModelRef(source=asked.model), Path())
    name = next(name for name, method in METHODS.items() if not method.trains)
    spec = RunSpec(
        run_id="",
        study="eval",
        model=choice,
        method=MethodChoice(name=name, trains=False, label=name),
        task=TaskChoice(task=_NO_TASK, root="", fingerprint=""),
        precision=asked.precision or "fp32",
        training=None,
        metrics=(),
        seed=0,
        budget=Budget(device=asked.device),
    )
    return Subject(spec, None, asked.adapters)


def _run(asked: Asked, runs: Path) -> RunFolder | None:
    """The run that is meant, if one is: a folder with a spec, or the beginning of an id that is no folder's name."""
    if (Path(asked.model) / "spec.json").is_file():
        return RunFolder(Path(asked.model))
    if Path(asked.model).exists() or not any(runs.glob(f"*/{glob_safe(asked.model)}*/spec.json")):
        return None
    return find_run(asked.model, runs)


def glob_safe(text: str) -> str:
    """Only what an id may begin with; nothing else is looked for among runs."""
    return text if text.isalnum() else "no run"


def _task_scores(subject: Subject, own: Own, tuned: Tuned) -> Iterator[tuple[str, MetricValue]]:
    """The metrics of a task of ours, on its test part."""
    from fairtune.execute.job import score_untrained
    from fairtune.execute.results import metric_value

    splits = own.splits
    metrics = tuple(
        MetricChoice(name=name, version=METRICS[name].version, of_labels=METRICS[name].of_labels)
        for name in own.task.metrics
    )
    choice = TaskChoice(task=own.task, root=str(own.root), fingerprint=splits.fingerprint(), labels=splits.labels)
    changes = {"task": choice, "metrics": metrics, "training": None, "benchmarks": (), "teacher": None}
    spec = subject.spec.model_copy(update=changes)
    with _meter(tuned) as meter:
        scored = score_untrained(spec, own.splits, tuned.model, meter)
    for name, metric in metrics_of(spec).items():
        statistics = np.array([[metric.item(outcome) for outcome in scored.outcomes]], dtype=np.float64)
        yield f"{own.task.name}.{name}", metric_value(metric, statistics, scored.stated)


@contextlib.contextmanager
def _meter(tuned: Tuned) -> Iterator[Any]:
    """What measures phases of runs; nobody reads it here."""
    from fairtune.execute.phases import PhaseMeter
    from fairtune.execute.progress import ProgressFile

    with tempfile.TemporaryDirectory() as folder:
        meter = PhaseMeter(ProgressFile(Path(folder) / "progress.json"))
        meter.device = tuned.model.device
        yield meter


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
