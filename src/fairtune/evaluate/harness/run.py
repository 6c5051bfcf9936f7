"""A benchmark run on a model: lm-eval asks, our model answers, and what every item scored is kept."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairtune.evaluate.harness.calling import calling_lm_eval
from fairtune.evaluate.harness.model import HarnessModel
from fairtune.evaluate.harness.tasks import OpenBenchmark
from fairtune.evaluate.metrics import BenchmarkMetric
from fairtune.study import BenchmarkScore


@dataclass(frozen=True)
class BenchmarkItem:
    """What a model did on one item.

    Attributes:
        id: lm-eval's task and the number of its item.
        prompt_hash: of the text that the model read.
        output: what it wrote after lm-eval's filters, or which answer it found likeliest; None where neither is asked.
        response: what it wrote before the filters, where that is something else.
        scores: in the order of the metric's statistics.
        cluster: lm-eval's task.
    """

    id: str
    prompt_hash: str
    output: str | None
    response: str | None
    reference: str
    scores: tuple[float, ...]
    cluster: str


@dataclass(frozen=True)
class BenchmarkNumber:
    """One number of a benchmark: lm-eval's own value, and the items that it is made of."""

    name: str
    value: float | None
    items: tuple[BenchmarkItem, ...]


@dataclass(frozen=True)
class BenchmarkResult:
    """Everything that came out.

    ``cut_requests``: contexts longer than the model reads, which lost their beginning. ``seconds``: that asking and
    scoring took.
    """

    numbers: tuple[BenchmarkNumber, ...]
    requests: int
    cut_requests: int
    cut_tokens: int
    seconds: float

    def to_json(self) -> str:
        """For the cache."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> BenchmarkResult:
        """What :meth:`to_json` wrote."""
        raw = json.loads(text)
        numbers = [
            BenchmarkNumber(
                each["name"],
                each["value"],
                tuple(BenchmarkItem(**{**item, "scores": tuple(item["scores"])}) for item in each["items"]),
            )
            for each in raw.pop("numbers")
        ]
        return BenchmarkResult(numbers=tuple(numbers), **raw)


def run_benchmark(model: HarnessModel, opened: OpenBenchmark) -> BenchmarkResult:
    """Asks the model everything.

    Raises:
        DataError, SpecError: as for :class:`HarnessModel`.
    """
    from lm_eval.evaluator import evaluate

    choice, started = opened.choice, time.perf_counter()
    requests, tokens = Counter(model.cuts.requests), Counter(model.cuts.tokens)
    with calling_lm_eval():
        for task in opened.tasks.values():
            task.set_fewshot_seed(seed=choice.asked.fewshot_seed)
        found: Any = evaluate(
            lm=model,
            task_dict={"tasks": opened.tasks, "groups": opened.groups},
            samples=opened.chosen,
            bootstrap_iters=0,
            apply_chat_template=choice.asked.chat_template,
            fewshot_as_multiturn=True,
        )
        numbers = tuple(_number(score, opened, found) for score in choice.scores)
    cut, lost = model.cuts.requests - requests, model.cuts.tokens - tokens
    return BenchmarkResult(numbers, opened.requests, cut.total(), lost.total(), time.perf_counter() - started)


def _number(score: BenchmarkScore, opened: OpenBenchmark, found: Any) -> BenchmarkNumber:
    """lm-eval's value, and its items with their weights."""
    names = [score.task] if score.task else list(opened.tasks)
    samples = [(name, sample) for name in names for sample in found["samples"][name]]
    having = [(name, sample) for name, sample in samples if sample["filter"] == score.filter and score.metric in sample]
    value = found["results"][score.task or _outermost(opened)].get(f"{score.metric},{score.filter}")
    sizes = Counter(name for name, _ in having)
    items = tuple(_item(score, opened.tasks[name], name, sample, len(sizes) * sizes[name]) for name, sample in having)
    finite = value is not None and np.isfinite(float(value))
    return BenchmarkNumber(score.name, float(value) if finite else None, items)


def _outermost(opened: OpenBenchmark) -> str:
    """The group that holds the others."""
    inner = {child for group in opened.groups.values() for child in group.child_names}
    return next(name for name in opened.groups if name not in inner)


def _item(score: BenchmarkScore, task: Any, name: str, sample: Any, share: int) -> BenchmarkItem:
    numbers = BenchmarkMetric(score).numbers(sample[score.metric])
    if score.task is None and not score.by_size and numbers:
        # Every task counts the same: its items share one task's weight.
        numbers = (numbers[0] / share, numbers[1] / share)
    output, response = _answer(score, task, sample)
    return BenchmarkItem(
        id=f"{name}/{sample['doc_id']}",
        prompt_hash=sample["prompt_hash"],
        output=output,
        response=response if response != output else None,
        reference=_reference(task, sample),
        scores=numbers,
        cluster=name,
    )


def _answer(score: BenchmarkScore, task: Any, sample: Any) -> tuple[str | None, str | None]:
    """What the model wrote, filtered and as it was; of several answers the one that it would give."""
    if task.OUTPUT_TYPE == "generate_until":
        return _text(sample["filtered_resps"][0]), "\n---\n".join(map(str, sample["resps"][0]))
    if task.OUTPUT_TYPE != "multiple_choice":
        return None, None
    choices = task.doc_to_choice(sample["doc"])
    values = [response[0] for response in sample["filtered_resps"][: len(choices)]]
    lengths = [_length(score.metric, choice) for choice in choices]
    return str(choices[int(np.argmax(np.array(values) / np.array(lengths)))]), None


def _length(metric: str, choice: str) -> float:
    """What lm-eval divides the log-likelihood of an answer by before it compares it with the others."""
    return float({"acc_norm": len(choice), "acc_bytes": len(choice.encode())}.get(metric, 1))


def _reference(task: Any, sample: Any) -> str:
    target = sample["target"]
    if task.OUTPUT_TYPE == "multiple_choice":
        target = task.doc_to_text(sample["doc"]) if task.multiple_input else target
        choices = task.doc_to_choice(sample["doc"])
        if isinstance(target, int) and 0 <= target < len(choices):
            return str(choices[target])
    return _text(target)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
