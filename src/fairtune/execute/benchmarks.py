"""Benchmarks of a study: found when it is read, run when a model is scored, kept in the cache between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairtune.cache import cache_folder, cache_lock, hash_file
from fairtune.errors import DataError, Problem, SpecError
from fairtune.evaluate.metrics import BenchmarkMetric, metric_of
from fairtune.records import BenchmarkNote, MetricValue, RunFolder, write_atomically, write_lines
from fairtune.stats import estimate
from fairtune.study import BenchmarkChoice, BenchmarkRef, LoadedStudy, RunSpec

if TYPE_CHECKING:
    from fairtune.evaluate.harness.run import BenchmarkNumber, BenchmarkResult
    from fairtune.evaluate.harness.tasks import OpenBenchmark
    from fairtune.execute.phases import PhaseMeter
    from fairtune.models.load import LanguageModel

# Raised when the same weights and requests give another result, or it is written otherwise.
_VERSION = 1


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


def _reopened(choice: BenchmarkChoice) -> OpenBenchmark:
    from fairtune.evaluate.harness.tasks import reopen

    return reopen(choice)


Advance = Callable[[int], None]


class BenchmarkRunner:
    """Runs benchmarks on one model after the other, and asks the cache first.

    Args:
        choices: what to run, opened now.

    Raises:
        DataError: something changed since the run was planned.
    """

    def __init__(self, choices: Sequence[BenchmarkChoice]) -> None:
        self.opened = [_reopened(choice) for choice in choices]

    def require_suited(self, tokenizer: Any, reads: int | None) -> BenchmarkRunner:
        """Itself, if a model with this tokenizer and context can be asked; told before the model is trained.

        Raises:
            SpecError: it has no chat template where one is asked for, or no room for an answer.
        """
        from fairtune.evaluate.harness.tasks import require_suited

        for opened in self.opened:
            require_suited(opened, tokenizer, reads)
        return self

    @property
    def requests(self) -> int:
        """That a model is asked, all benchmarks together."""
        return sum(opened.requests for opened in self.opened)

    def run(self, model: LanguageModel, weights: str, advance: Advance = lambda _: None) -> list[Scored]:
        """Every benchmark on the model.

        Args:
            weights: stands for the content of the weights, adapters included.
            advance: told how many requests are behind it.
        """
        found, behind = [], 0
        for opened in self.opened:
            found.append(_run(opened, model, weights, _shifted(advance, behind)))
            behind += opened.requests
            advance(behind)
        return found


def score_benchmarks(
    runner: BenchmarkRunner, spec: RunSpec, folder: RunFolder, model: LanguageModel, meter: PhaseMeter
) -> list[Scored]:
    """Every benchmark of a run, as a part of its phase ``evaluate``; the log says what was cut."""
    from fairtune.execute.restore import saved_by

    if not spec.benchmarks:
        return []
    with meter.phase("evaluate", runner.requests) as progress:
        found = runner.run(model, weights_key(spec, saved_by(spec, folder)), progress.advance)
    for note in (scored.note() for scored in found):
        print(
            f"benchmark {note.name}: {note.items} items, {note.requests} requests"
            f"{', from the cache' if note.cached else ''}; {note.cut_requests} were longer than the model reads and "
            f"lost {note.cut_tokens} tokens of their beginning"
        )
    return found


def _shifted(advance: Advance, behind: int) -> Advance:
    return lambda done: advance(behind + done)


class Scored:
    """A benchmark's result, and whether it came from the cache."""

    def __init__(self, choice: BenchmarkChoice, result: BenchmarkResult, cached: bool) -> None:
        self.choice, self.result, self.cached = choice, result, cached

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
        )


def _run(opened: OpenBenchmark, model: LanguageModel, weights: str, advance: Advance) -> Scored:
    from fairtune.evaluate.harness.model import HarnessModel
    from fairtune.evaluate.harness.run import BenchmarkResult, run_benchmark

    asked = HarnessModel(model, done=_counting(advance, opened.requests))
    path = cache_folder() / "benchmarks" / f"{result_key(opened.choice, asked, weights)}.json"
    with cache_lock(path):
        kept = _kept(path)
        if kept is not None:
            return Scored(opened.choice, BenchmarkResult.from_json(kept), True)
        result = run_benchmark(asked, opened)
        write_atomically(path, result.to_json())
    return Scored(opened.choice, result, False)


def _counting(advance: Advance, most: int) -> Advance:
    return lambda done: advance(min(done, most))


def _kept(path: Path) -> str | None:
    """None where there is nothing, or what is there is not whole: it is made again."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        return text if text and json.loads(text) else None
    except ValueError:
        return None


def result_key(choice: BenchmarkChoice, asked: Any, weights: str) -> str:
    """The name of a result in the cache: another one whenever anything changes that could change it."""
    import lm_eval
    import torch

    from fairtune.data.tokens.key import tokenizer_key

    model = asked.model
    settings = choice.asked.model_dump(mode="json", exclude={"benchmark", "name"})
    described = {
        "versions": [_VERSION, lm_eval.__version__, torch.__version__],
        "weights": weights,
        "tokenizer": tokenizer_key(model.tokenizer),
        "reads": [asked.max_length, model.virtual_tokens],
        "precision": [model.precision, model.device.type],
        "benchmark": [choice.fingerprint, settings, [score.model_dump() for score in choice.scores]],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def weights_key(spec: RunSpec, saved: Path | None) -> str:
    """Stands for the weights of a run: its model's content, and that of what it trained.

    Args:
        saved: the folder that the run left; None where it trained nothing.
    """
    model = spec.model
    seed = spec.seed if model.scratch else None
    parts = [model.fingerprint, model.first_layers, seed, spec.method.name, spec.method.chosen]
    return hashlib.sha256(json.dumps([*parts, _content(saved)], sort_keys=True).encode()).hexdigest()


def _content(folder: Path | None) -> list[str]:
    """Hashes of an adapter's or a model's files that decide what it computes."""
    if folder is None:
        return []
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json"})
    return [f"{path.relative_to(folder)} {hash_file(path)}" for path in files if "README" not in path.name]


def benchmark_value(metric: BenchmarkMetric, number: BenchmarkNumber, choice: BenchmarkChoice) -> MetricValue:
    """lm-eval's value, with the interval that its items give.

    Raises:
        DataError: the items do not give lm-eval's value: its aggregation is not what it was taken for.
    """
    statistics = np.array([[item.scores for item in number.items]], dtype=np.float64)
    low = high = None
    method, reason = "none", None
    if number.value is None:
        reason = f"lm-eval gives no {metric.score.metric} for these items"
    elif not metric.statistics:
        reason = f"{metric.score.metric} is no function of sums over items"
    else:
        found = estimate(statistics, metric.aggregate, metric.proportion)
        low, high, method, reason = found.low, found.high, found.method, found.reason
        if found.value is None or not np.isclose(found.value, number.value, rtol=1e-6, atol=1e-9):
            raise DataError(f"benchmark {metric.name}: lm-eval has {number.value}, its items give {found.value}")
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
    import lm_eval

    tasks = {f"{task.name} {task.version}" for task in choice.tasks}
    named = sorted(tasks)[0] if len(tasks) == 1 else f"{choice.name}: {len(tasks)} tasks"
    asked = choice.asked
    shots = "the task's own shots" if asked.num_fewshot is None else f"{asked.num_fewshot}-shot"
    sample = "" if asked.limit is None else f"{asked.limit} items by {asked.sample}"
    template = "chat template" if asked.chat_template else ""
    parts = [f"lm-eval {lm_eval.__version__}", named, shots, f"seed {asked.fewshot_seed}", sample, template]
    return " · ".join(part for part in parts if part)


def write_benchmarks(
    spec: RunSpec, scored: Sequence[Scored], folder: RunFolder
) -> tuple[dict[str, MetricValue], tuple[BenchmarkNote, ...]]:
    """Numbers and notes for the record; writes ``examples/<number>.jsonl`` for each."""
    values: dict[str, MetricValue] = {}
    for each in scored:
        values.update(each.values())
        for number in each.result.numbers:
            write_lines(folder.examples(number.name), _lines(metric_of(spec, number.name).statistics, number))
    return values, tuple(each.note() for each in scored)


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
