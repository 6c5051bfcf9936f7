"""How near an export is to its run: parity.json, version 1."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fairtune.records.schema import Part


class LogitsCompared(Part):
    """Logits of every token of the vocabulary, where a token of the reference answer is predicted."""

    largest: float = Field(description="largest absolute difference of a logit")
    mean: float = Field(description="mean absolute difference of a logit")
    positions: int = Field(description="positions compared")
    of: int = Field(description="positions there are; fewer are compared where the disk would hold too much")


class LossCompared(Part):
    """Negative log-likelihood of the reference answers, in nats per token, over all items."""

    run: float
    export: float
    difference: float = Field(description="export minus run: above zero, the export is worse")
    tokens: int


class AnswersCompared(Part):
    """Answers to the test items, written as the task says: greedily, or drawn with the same seeds on both sides."""

    changed: int | None = Field(description="items whose answer is another text")
    of: int
    changes: tuple[dict[str, str], ...] = Field(default=(), description="id, run, export: every changed answer")
    reason: str | None = Field(default=None, description="why there are no answers")


class LlamaCpp(Part):
    """The same file in llama.cpp, by its Python binding."""

    version: str | None = Field(description="of llama_cpp; None where it was not run")
    answers: AnswersCompared | None = None
    prompts_tokenised_otherwise: int | None = None
    reason: str | None = Field(default=None, description="why it was not run")


class Parity(Part):
    """An export, loaded again from its files, beside the run that it came from."""

    version: Literal[1] = 1
    run_id: str
    study: str
    run: str = Field(description="model, method and precision of the run")
    form: str
    type: str | None = Field(description="number format that was chosen; None where the run's precision decides")
    files: dict[str, int] = Field(description="bytes of each file")
    created: str = Field(description="UTC, ISO 8601")
    fairtune: str
    packages: dict[str, str]
    device: str
    computed: tuple[str, str] = Field(description="precision that the run, and the export, computed in")
    items: int = Field(description="test items of the run's task; all of them")
    logits: LogitsCompared
    loss: LossCompared
    answers: AnswersCompared
    items_tokenised_otherwise: int = Field(description="test items that the export's own tokenizer cuts otherwise")
    answers_as_recorded: int | None = Field(
        description="answers of the run, loaded again, that are those it was scored by; None where it stored none"
    )
    llama_cpp: LlamaCpp | None = None
    remarks: tuple[str, ...] = ()
