"""Answers that are programs, run with the tests of their items: between generation and the metrics."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from fairtune.data import Encoded, Splits
from fairtune.data.examples import Checks
from fairtune.errors import FairtuneError
from fairtune.evaluate.code import code_of
from fairtune.evaluate.generation import Answer, write
from fairtune.evaluate.metrics import Outcome, Trial
from fairtune.evaluate.sandbox import Limits, Verdict, run_code
from fairtune.execute.confined import is_confined
from fairtune.models.load import LanguageModel
from fairtune.study import RunSpec

# Programs at a time. Each may keep a core busy for all its seconds, and the limit of time is by the clock.
_AT_A_TIME = min(2, os.cpu_count() or 1)


def seeds(spec: RunSpec, items: Sequence[Encoded], sample: int) -> list[int]:
    """One an item, from the run's seed, the item's id and the number of the sample: other items change none."""
    names = [f"{spec.seed} {item.id} {sample}" for item in items]
    return [int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") for name in names]


def further_answers(
    spec: RunSpec, model: LanguageModel, items: Sequence[Encoded], done: Callable[[int], None]
) -> list[tuple[Answer, ...]]:
    """Of each item the samples behind the first, where the task asks for more than one.

    Args:
        done: told how many answers there are, all items together.
    """
    task, more = spec.task.task, spec.task.task.code.samples - 1
    prompts = [item.prompt for item in items for _ in range(more)]
    drawn = [seeds(spec, items, sample) for sample in range(1, more + 1)]
    own = [draws[index] for index in range(len(items)) for draws in drawn]
    answers = write(model, prompts, task.max_new_tokens, task.generation, own, done)
    return [tuple(answers[index * more : (index + 1) * more]) for index in range(len(items))]


def tried(
    spec: RunSpec,
    splits: Splits,
    outcomes: Sequence[Outcome],
    further: Sequence[tuple[Answer, ...]],
    done: Callable[[int], None],
) -> list[Outcome]:
    """The outcomes with what became of their programs. A program that was written twice is run once.

    Args:
        done: told how many programs have been run.

    Raises:
        FairtuneError: there is no sandbox here, and the study does not allow to do without.
    """
    checks = {example.id: example.checks for example in splits.test}
    outputs = [
        [outcome.output or "", *(answer.text for answer in more)]
        for outcome, more in zip(outcomes, further, strict=True)
    ]
    programs = [
        [_program(checks, outcome.id, output) for output in own] for outcome, own in zip(outcomes, outputs, strict=True)
    ]
    verdicts = _verdicts(spec, list(dict.fromkeys(program for own in programs for program in own)), done)
    return [
        replace(outcome, trials=tuple(_trials(own, [verdicts[program] for program in texts])))
        for outcome, own, texts in zip(outcomes, outputs, programs, strict=True)
    ]


def _program(checks: Mapping[str, Checks | None], item: str, output: str) -> str:
    found = checks[item]
    if found is None:
        raise FairtuneError(f"test item {item} has no tests to run with its answer")
    return found.program(code_of(output))


def _verdicts(spec: RunSpec, programs: Sequence[str], done: Callable[[int], None]) -> dict[str, Verdict]:
    asked, confined = spec.task.task.code, is_confined(spec)
    limits = Limits(asked.time, asked.memory, asked.processes, asked.file_size)
    verdicts = {}
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for program, verdict in pool.map(lambda text: (text, run_code(text, limits, confined)), programs):
            verdicts[program] = verdict
            done(len(verdicts))
    return verdicts


def _trials(outputs: Sequence[str], verdicts: Sequence[Verdict]) -> Iterator[Trial]:
    for output, verdict in zip(outputs, verdicts, strict=True):
        yield Trial(output, verdict.passed, verdict.reason)
