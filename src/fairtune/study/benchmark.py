"""Benchmarks of a study: lm-eval's tasks, by name or as a file. What they are is looked up by whoever knows lm-eval."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fairtune.study.fields import NAME, Count, Strict, no_bool

# lm-eval's own, so that numbers can be compared with those of others.
FEWSHOT_SEED = 1234


class BenchmarkGeneration(Strict):
    """How answers are written, where it is to be otherwise than the benchmark says."""

    max_new_tokens: Count | None = Field(default=None, description="longest answer, in tokens")
    temperature: Annotated[float, Field(ge=0)] | None = Field(default=None, description="0: greedy")
    top_k: Count | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    stop: tuple[str, ...] | None = Field(default=None, description="texts that end an answer")


class BenchmarkRef(Strict):
    """A benchmark as a study asks for it."""

    benchmark: str = Field(min_length=1, description="a task, group or tag of lm-eval, or ./file.yaml of your own")
    name: str | None = Field(default=None, pattern=NAME, description="what tables call it; its task's name if absent")
    limit: Count | None = Field(default=None, description="items of each task; all if absent")
    sample: Literal["hash", "first"] = Field(
        default="hash",
        description="those whose content has the lowest hashes, or the first, as lm-eval's --limit",
    )
    num_fewshot: Annotated[int, BeforeValidator(no_bool), Field(ge=0)] | None = Field(
        default=None, description="examples before each question; the task's own if absent"
    )
    fewshot_seed: Annotated[int, BeforeValidator(no_bool)] = Field(
        default=FEWSHOT_SEED, description="draws the examples; lm-eval's own default"
    )
    chat_template: bool = Field(default=False, description="write questions by the model's chat template")
    generation: BenchmarkGeneration = BenchmarkGeneration()


class BenchmarkTask(Strict):
    """One of the tasks that a benchmark is made of."""

    name: str
    version: str = Field(description="lm-eval's version of the task")
    items: int = Field(description="that are scored")


class BenchmarkScore(Strict):
    """A number that a benchmark gives. Everything that is needed to make it again from its items, without lm-eval."""

    name: str = Field(description="in records and reports: benchmark.metric, or benchmark.metric.filter")
    metric: str
    filter: str
    aggregation: str = Field(description="how items become the number; 'other' where it is no function of sums")
    higher_is_better: bool
    proportion: bool = Field(default=False, description="whether it is a share of items")
    task: str | None = Field(default=None, description="lm-eval's task; None for all tasks of the benchmark together")
    by_size: bool = Field(default=True, description="of a group: every item counts the same, not every task")


class BenchmarkChoice(Strict):
    """A benchmark as resolved for a run. ``fingerprint`` stands for its requests, settings, filters and metrics."""

    name: str
    source: str = Field(description="lm-eval's name, or the file")
    asked: BenchmarkRef
    tasks: tuple[BenchmarkTask, ...]
    scores: tuple[BenchmarkScore, ...]
    fingerprint: str

    @property
    def identity(self) -> list[Any]:
        """What of it decides a run's results, and under which names they stand."""
        return [self.fingerprint, self.asked.chat_template, [score.name for score in self.scores]]
