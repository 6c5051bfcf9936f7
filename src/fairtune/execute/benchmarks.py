"""Benchmarks of a study: found when it is read, run when a model is scored, kept in the cache between."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairtune.cache import cache_folder, cache_lock, hash_file
from fairtune.errors import Problem, SpecError
from fairtune.evaluate.metrics import BenchmarkMetric, metric_of
from fairtune.execute.leaks import LearnedFrom
from fairtune.records import BenchmarkLeakage, BenchmarkNote, MetricValue, RunFolder, write_atomically, write_lines
from fairtune.stats import NO_INTERVAL, Scores, clusters_of, estimate
from fairtune.study import BenchmarkChoice, BenchmarkRef, LoadedStudy, MethodChoice, ModelChoice, RunSpec

if TYPE_CHECKING:
    from fairtune.data import Splits
    from fairtune.evaluate.harness.run import BenchmarkNumber, BenchmarkResult
    from fairtune.evaluate.harness.tasks import OpenBenchmark
    from fairtune.execute.phases import PhaseMeter
    from fairtune.models.load import LanguageModel

# Raised when the same weights and requests give another result, or it is written otherwise.
_VERSION = 2
_LM_EVAL = "lm_eval"


def find_benchmarks(loaded: LoadedStudy, where: str) -> tuple[BenchmarkChoice, ...]:
    """The benchmarks of a study: their tasks, their numbers, and what stands for their text and data.

    Raises:
        SpecError: unknown names, wrong settings, two of one name; all together.
        DataError: data that cannot be had or do not suit their task.
    """
    found: dict[str, BenchmarkChoice] = {}
    problems = []
    for path, ref in loaded.benchmarks.items():
        try:
            found[path] = open_any(ref, loaded.root).choice
        except SpecError as error:
            problems += [Problem(path, problem.message) for problem in error.problems]
    problems = problems or list(_twice(found))
    if problems:
        raise SpecError(problems, where)
    return tuple(found.values())


def open_any(ref: BenchmarkRef, root: Path) -> OpenBenchmark:
    """One benchmark, with its data; lm-eval is imported here, and not before."""
    from fairtune.evaluate.harness.tasks import open_benchmark

    return open_benchmark(ref, root)


def _twice(found: dict[str, BenchmarkChoice]) -> Iterator[Problem]:
    known: dict[str, str] = {}
    for path, choice in found.items():
        for score in choice.scores:
            if score.name in known:
                yield Problem(path, f"'{score.name}' stands at {known[score.name]} too; give one of them a `name`")
                break
            known[score.name] = path


Advance = Callable[[int], None]


class BenchmarkRunner:
    """Runs benchmarks on one model after the other, and asks the cache first.

    Args:
        opened: what to run, with its data.
    """

    def __init__(self, opened: Sequence[OpenBenchmark]) -> None:
        self.opened = tuple(opened)
        self._leaks: dict[str, BenchmarkLeakage] = {}

    @classmethod
    def of(cls, choices: Sequence[BenchmarkChoice]) -> BenchmarkRunner:
        """Of what a run was planned with, opened now.

        Raises:
            DataError: something changed since then.
        """
        if not choices:
            return cls(())
        from fairtune.evaluate.harness.tasks import reopen

        return cls([reopen(choice) for choice in choices])

    def require_suited(self, tokenizer: Any, reads: int | None) -> None:
        """Whether a model with this tokenizer and context can be asked; told before the model is trained.

        Raises:
            SpecError: it has no chat template where one is asked for, or no room for an answer.
        """
        if not self.opened:
            return
        from fairtune.evaluate.harness.tasks import require_suited

        for opened in self.opened:
            require_suited(opened, tokenizer, reads)

    def seek_in(self, splits: Splits, fingerprint: str) -> None:
        """Looks for the scored items in the data that a run learns from; what is found stands in the notes.

        Args:
            fingerprint: of the splits.
        """
        if not self.opened:
            return
        from fairtune.evaluate.harness.asked import items_of

        learned = LearnedFrom(splits, fingerprint)
        for opened in self.opened:
            choice = opened.choice
            found = learned.leaks_of(choice.name, choice.fingerprint, functools.partial(items_of, opened))
            self._leaks[choice.fingerprint] = found

    def run(self, model: LanguageModel, weights: str, meter: PhaseMeter) -> Iterator[Scored]:
        """Every benchmark on the model, each handed out before the next begins, and a part of phase ``evaluate``.

        Args:
            weights: stands for the content of the weights, adapters included.
        """
        for opened in self.opened:
            with meter.phase("evaluate", opened.requests) as progress:
                result, cached = _run(opened, model, weights, progress.advance)
            yield Scored(opened.choice, result, cached, self._leaks.get(opened.choice.fingerprint))


def score_benchmarks(
    runner: BenchmarkRunner, spec: RunSpec, folder: RunFolder, model: LanguageModel, meter: PhaseMeter
) -> Iterator[Scored]:
    """Every benchmark of a run, each handed out before the next begins; the log says what was cut."""
    from fairtune.execute.restore import saved_by

    if not spec.benchmarks:
        return
    weights = weights_key(spec.model, spec.method, spec.seed, saved_by(spec, folder))
    for scored in runner.run(model, weights, meter):
        note = scored.note()
        print(
            f"benchmark {note.name}: {note.items} items, {note.requests} requests"
            f"{', from the cache' if note.cached else ''}; {note.cut_requests} were longer than the model reads and "
            f"lost {note.cut_tokens} tokens of their beginning"
        )
        yield scored


@dataclass(frozen=True)
class Scored:
    """A benchmark's result, and whether it came from the cache. ``leaks``: None where no training data are known."""

    choice: BenchmarkChoice
    result: BenchmarkResult
    cached: bool
    leaks: BenchmarkLeakage | None = None

    def values(self) -> dict[str, MetricValue]:
        """Its numbers with their intervals."""
        pairs = zip(self.choice.scores, self.result.numbers, strict=True)
        return {score.name: benchmark_value(BenchmarkMetric(score), number, self.choice) for score, number in pairs}

    def note(self) -> BenchmarkNote:
        """For the record."""
        return BenchmarkNote(
            name=self.choice.name,
            items=sum(task.items for task in self.choice.tasks),
            requests=self.result.requests,
            cut_requests=self.result.cut_requests,
            cut_tokens=self.result.cut_tokens,
            cached=self.cached,
            seconds=self.result.seconds,
            leakage=self.leaks,
        )


def _run(opened: OpenBenchmark, model: LanguageModel, weights: str, advance: Advance) -> tuple[BenchmarkResult, bool]:
    """The result, and whether it was kept."""
    from fairtune.evaluate.harness.model import HarnessModel
    from fairtune.evaluate.harness.run import BenchmarkResult, run_benchmark

    asked = HarnessModel(model, done=lambda done: advance(min(done, opened.requests)))
    path = cache_folder() / "benchmarks" / f"{result_key(opened.choice, asked, weights)}.json"
    with cache_lock(path):
        kept = _kept(path)
        if kept is not None:
            return BenchmarkResult.from_json(kept), True
        result = run_benchmark(asked, opened)
        write_atomically(path, result.to_json())
    return result, False


def _kept(path: Path) -> str | None:
    """None where there is nothing, or what is there is not whole: it is made again."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        return text if text and json.loads(text) else None
    except ValueError:
        return None


def result_key(choice: BenchmarkChoice, asked: Any, weights: str) -> str:
    """The name of a result in the cache: another one whenever anything changes that could change it."""
    import torch

    from fairtune.data.tokens.key import tokenizer_key

    model = asked.model
    settings = choice.asked.model_dump(mode="json", exclude={"benchmark", "name"})
    described = {
        "versions": [_VERSION, version(_LM_EVAL), torch.__version__],
        "weights": weights,
        "tokenizer": tokenizer_key(model.tokenizer),
        "reads": [asked.max_length, model.virtual_tokens],
        "precision": [model.precision, model.device.type],
        "benchmark": [choice.fingerprint, settings, [score.model_dump() for score in choice.scores]],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def weights_key(model: ModelChoice, method: MethodChoice, seed: int, saved: Path | None) -> str:
    """Stands for weights: a model's content, and that of what was trained on it.

    Args:
        seed: of the run; it draws the weights of a model from scratch.
        saved: the folder that a run left, or an adapter's; None where nothing was trained.
    """
    drawn = seed if model.scratch else None
    parts = [model.fingerprint, model.first_layers, drawn, method.name, method.chosen, _content(saved)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content(folder: Path | None) -> list[str]:
    """Hashes of an adapter's or a model's files that decide what it computes."""
    if folder is None:
        return []
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json"})
    return [f"{path.relative_to(folder)} {hash_file(path)}" for path in files if "README" not in path.name]


def benchmark_value(metric: BenchmarkMetric, number: BenchmarkNumber, choice: BenchmarkChoice) -> MetricValue:
    """lm-eval's value, with the interval that its items give; without one where they do not give its value."""
    statistics = np.array([[item.scores for item in number.items]], dtype=np.float64)
    low = high = None
    method, reason = NO_INTERVAL, None
    if number.value is None:
        reason = f"lm-eval gives no {metric.score.metric} for these items"
    elif not metric.statistics:
        reason = f"{metric.score.metric} is no function of sums over items"
    else:
        clusters = clusters_of([item.cluster for item in number.items])
        found = estimate(Scores(statistics, metric.aggregate, metric.proportion, clusters))
        if found.value is not None and np.isclose(found.value, number.value, rtol=1e-6, atol=1e-9):
            low, high, method, reason = found.low, found.high, found.method, found.reason
        else:  # its aggregation is not what it was taken for
            reason = f"lm-eval has {number.value:.6g} for {metric.name}, and its items give {found.value}"
    return MetricValue(
        value=number.value,
        low=low,
        high=high,
        n=len(number.items),
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        version=metric.version,
        interval=method,
        signature=signature_of(choice),
        reason=reason,
    )


def signature_of(choice: BenchmarkChoice) -> str:
    """``lm-eval 0.4.13 · hellaswag 1.0 · 0-shot``: what somebody needs to get the same number."""
    tasks = {f"{task.name} {task.version}" for task in choice.tasks}
    named = sorted(tasks)[0] if len(tasks) == 1 else f"{choice.name}: {len(tasks)} tasks"
    asked = choice.asked
    shots = "the task's own shots" if asked.num_fewshot is None else f"{asked.num_fewshot}-shot"
    sample = "" if asked.limit is None else f"{asked.limit} items by {asked.sample}"
    template = "chat template" if asked.chat_template else ""
    parts = [f"lm-eval {version(_LM_EVAL)}", named, shots, f"seed {asked.fewshot_seed}", sample, template]
    return " · ".join(part for part in parts if part)


def write_benchmark(spec: RunSpec, scored: Scored, folder: RunFolder) -> dict[str, MetricValue]:
    """A benchmark's numbers for the record; writes ``examples/<number>.jsonl`` for each."""
    for number in scored.result.numbers:
        write_lines(folder.examples(number.name), _lines(metric_of(spec, number.name).statistics, number))
    return scored.values()


def _lines(statistics: Sequence[str], number: BenchmarkNumber) -> Iterator[dict[str, Any]]:
    for item in number.items:
        yield {
            "id": item.id,
            "prompt_hash": item.prompt_hash,
            "output": item.output,
            "reference": item.reference,
            "scores": dict(zip(statistics, item.scores, strict=True)),
            "cluster": item.cluster,
            **({"response": item.response} if item.response is not None else {}),
        }
