"""Who judges, which runs are compared, and what the judge's process is asked. A judge changes no run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from fairtune.errors import Problem, SpecError, suggest
from fairtune.study.fields import Strict
from fairtune.study.spec import Budget, Judge, ModelChoice, ModelRef, Precision, RunSpec

PROMPT = """Two assistants answered the same question. Decide which answer is better: more correct, more helpful, and \
closer to what was asked. Neither the length of an answer nor its place below matters.

[Question]
{question}

[Answer A]
{answer_a}

[Answer B]
{answer_b}

Which answer is better? Reply with one letter, A or B."""

_FIELDS = ("{question}", "{answer_a}", "{answer_b}")
# Raised when the same answers would get other verdicts.
_VERSION = 1


class JudgeChoice(Strict):
    """A judge as resolved: its model, and what it is asked."""

    model: ModelChoice
    precision: Precision
    prompt: str
    against: str | None = None
    limit: int | None = None

    @property
    def identity(self) -> str:
        """Stands for everything that a verdict depends on besides question and answers."""
        model = self.model
        parts = [_VERSION, model.fingerprint, model.trust_remote_code, model.first_layers, self.precision, self.prompt]
        return json.dumps(parts, ensure_ascii=False)


class JudgedItem(Strict):
    """A question and two answers to it. ``run`` and ``against`` are what the two wrote."""

    id: str
    question: str
    reference: str
    run: str
    against: str


class PairSpec(Strict):
    """Two runs to be compared, and what they wrote. ``id``: see :func:`judgement_id`."""

    id: str
    run: RunSpec
    against: RunSpec
    items: tuple[JudgedItem, ...]


class JudgeSpec(Strict):
    """Everything that the process of a judge needs, and nothing else."""

    version: Literal[1] = 1
    study: str
    judge: JudgeChoice
    pairs: tuple[PairSpec, ...]
    budget: Budget = Budget()


def judgement_id(judge: JudgeChoice, run: RunSpec, against: RunSpec, items: Sequence[JudgedItem]) -> str:
    """Ten hex digits of a SHA-256 over the judge, the two runs, and the content of every item and both answers."""
    asked = [item.model_dump() for item in items]
    text = json.dumps([judge.identity, run.run_id, against.run_id, asked], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def resolve_judge(judge: Judge, root: Path, identify: Callable[[ModelRef, Path], ModelChoice]) -> JudgeChoice:
    """The judge that a study names.

    Raises:
        SpecError: its prompt cannot be read, or lacks a field.
        ModelError: no such model.
    """
    return JudgeChoice(
        model=identify(judge.model, root),
        precision=judge.precision,
        prompt=_prompt(judge.prompt, root),
        against=judge.against,
        limit=judge.limit,
    )


def _prompt(asked: str | None, root: Path) -> str:
    """A text with fields is a prompt; one without them is the name of a file."""
    if asked is None:
        return PROMPT
    text = asked
    if "{" not in asked:
        try:
            text = (root / asked).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            told = f"{asked!r} has no fields, so it names a file, which cannot be read: {error}"
            raise SpecError([Problem("judge.prompt", told)]) from None
    missing = [field for field in _FIELDS if field not in text]
    if missing:
        told = f"lacks {', '.join(missing)}; it needs {', '.join(_FIELDS)}, and may have {{reference}}"
        raise SpecError([Problem("judge.prompt", told)])
    return text


def find_pairs(against: str | None, runs: Sequence[RunSpec]) -> list[tuple[RunSpec, RunSpec]]:
    """Every trained run, and the run of the same model and precision that it is compared with.

    Args:
        against: label of a method; None for the untouched model. Of one that trains, the run with the same seed and
            augmentation.

    Raises:
        SpecError: there is nothing to compare.
    """
    others = [run for run in runs if (run.method.label == against if against else not run.method.trains)]
    pairs = [
        (run, other)
        for run in runs
        if run.method.trains
        for other in [next((other for other in others if _comparable(run, other)), None)]
        if other is not None
    ]
    if not pairs:
        raise SpecError([Problem("judge" if against is None else "judge.against", _nothing(against, others, runs))])
    return pairs


def _comparable(run: RunSpec, other: RunSpec) -> bool:
    alike = run.model == other.model and run.precision == other.precision and run.method != other.method
    return alike and (not other.method.trains or (run.seed == other.seed and run.augment == other.augment))


def _nothing(against: str | None, others: Sequence[RunSpec], runs: Sequence[RunSpec]) -> str:
    labels = sorted({run.method.label for run in runs})
    if others:
        return f"there is no trained run to compare with '{others[0].method.label}'; methods: {', '.join(labels)}"
    if against is None:
        return (
            "the study has no untouched model to compare with; add one to `methods`, or name a method in "
            f"`judge: {{against: …}}`; possible: {', '.join(labels)}"
        )
    return f"no method is called '{against}'; {suggest(against, labels)}"
