"""A task: data, prompt, split and metrics, under a name and a version."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fairtune.study.fields import NAME, Bytes, Count, Number, Seconds, Strict, no_bool


class Prompt(Strict):
    """How a row becomes what the model is asked."""

    system: str | None = Field(default=None, description="system message put before every example")
    template: str | None = Field(
        default=None, description="user message with {column} fields; the row's prompt if absent"
    )


class Samples(Strict):
    """Text that a model writes by itself, to be looked at. No score is made of it."""

    count: Annotated[int, BeforeValidator(no_bool), Field(ge=0)] = Field(default=3, description="0 for none")
    tokens: Count = Field(default=300, description="length of each; may exceed the model's context")
    temperature: Annotated[float, Field(gt=0)] = 0.8


class Generation(Strict):
    """How answers are written. Greedy unless it says otherwise; the draws of an item depend on its seed alone."""

    temperature: Annotated[float, Field(ge=0)] = Field(default=0.0, description="divides the logits; 0: greedy")
    top_k: Count | None = Field(default=None, description="draw from so many of the likeliest tokens; None for all")
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="draw from the likeliest tokens that make up this much probability; None for all"
    )
    repetition_penalty: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="divides the scores of tokens that stand in prompt or answer already (CTRL)"
    )
    stop: tuple[str, ...] = Field(default=(), description="texts that end an answer, besides its end-of-turn token")


class Code(Strict):
    """What each program may use where answers are code that is run with its tests, and how many answers are written."""

    samples: Count = Field(default=1, description="answers to each item; pass@k needs k of them at least")
    time: Annotated[Seconds, Field(le=3600)] = Field(
        default=10.0, description="by the clock; reference solutions take well under a second"
    )
    memory: Annotated[Bytes, Field(ge=64 * 2**20)] = Field(
        default=512 * 2**20,
        description="addresses of each process, and memory of all together; Python itself has 20 MiB",
    )
    processes: Annotated[Count, Field(le=1024)] = Field(default=16, description="with threads, at one time")
    file_size: Bytes = Field(default=16 * 2**20, description="all files together, and what is printed")


class Task(Strict):
    """Data, prompt, split and metrics, under a name and a version."""

    name: str = Field(pattern=NAME)
    version: Count = 1
    train: str = Field(
        min_length=1, description="file, folder or pattern, hub:OWNER/NAME, or a shipped source such as cldr:en-es"
    )
    validation: str | Number = Field(default=0.1, description="file, share of train (0–1) or number of rows")
    test: str | Number = Field(default=0.2, description="file, share of train (0–1) or number of rows")
    limit: Count | None = Field(
        default=None, description="train on at most this many examples, chosen by the hash of their content"
    )
    format: Literal["jsonl", "json", "csv", "tsv", "parquet", "text"] | None = Field(
        default=None, description="how files hold rows; recognised by suffix and first bytes if absent"
    )
    header: bool | None = Field(
        default=None, description="whether the first line of a csv or tsv names its columns; recognised if absent"
    )
    shape: (
        Literal["messages", "orca", "alpaca", "multiple_choice", "pairs", "prompt_completion", "labels", "text"] | None
    ) = Field(default=None, description="how rows are read; recognised from the first row if absent")
    columns: dict[str, str] = Field(
        default={}, description="which of the data's columns is which of the shape's: {prompt: my_question}"
    )
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | str | None = Field(
        default=None,
        description="label set in the order of answers, or a file with one a line; the training rows' own if absent",
    )
    group: str | None = Field(
        default=None, description="column whose rows stay together when a part is taken from train"
    )
    on_bad_rows: Literal["stop", "skip"] = Field(
        default="stop", description="rows that cannot be used: refuse the data, or leave them out and list them"
    )
    prompt: Prompt = Prompt()
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("perplexity", "exact_match")
    predict: Literal["generate", "score"] = Field(
        default="generate", description="an answer is written, or is the likeliest of the labels or of a row's choices"
    )
    max_new_tokens: Count = Field(default=64, description="longest generated answer, in tokens")
    generation: Generation = Field(default=Generation(), description="how answers are written; greedy if absent")
    code: Code = Field(default=Code(), description="limits of programs, where answers are run with their tests")
    window: Count = Field(
        default=512, description="plain text is scored in pieces of this many tokens, or of the model's context if less"
    )
    stride: Count | None = Field(
        default=None,
        description="tokens that each scored window but the first adds, after the last of the window before as "
        "context; the window itself if absent, which is quickest",
    )
    samples: Samples = Field(default=Samples(), description="what a model writes after training on plain text")

    @field_validator("stride")
    @classmethod
    def _within_the_window(cls, value: int | None, info: ValidationInfo) -> int | None:
        window = info.data.get("window")
        if value is not None and window is not None and value > window:
            raise ValueError(f"is more than window: {window}, so tokens between two windows would never be scored")
        return value

    @field_validator("validation", "test")
    @classmethod
    def _share_or_count(cls, value: str | float) -> str | float:
        if isinstance(value, str) or 0 < value < 1 or (value >= 1 and float(value).is_integer()):
            return value
        raise ValueError(f"{value:g} is neither a file, a share between 0 and 1, nor a number of rows")
