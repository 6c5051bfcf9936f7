"""What happened to a run: record.json, version 1."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fairtune.study import RunSpec

Status = Literal["ok", "does_not_fit", "out_of_memory", "diverged", "timeout", "failed", "interrupted"]
Phase = Literal["load", "teach", "train", "evaluate", "generate", "check"]
VERSION: Literal[1] = 1


class Part(BaseModel):
    """A frozen part of a record. Extra keys are kept: a newer fairtune may have written them."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ErrorInfo(Part):
    """Why a run has no results."""

    phase: str | None = Field(description="phase the run was in; None before the first")
    kind: str = Field(description="name of the error, or of the signal that ended the process")
    message: str = Field(description="one sentence for people; the traceback is in log.txt")


class LabelScores(Part):
    """How one label was predicted; a share without anything to be a share of is 0, as scikit-learn has it."""

    precision: float
    recall: float
    f1: float
    support: int = Field(description="items that have the label")


class MetricValue(Part):
    """A score with its 95 % interval."""

    value: float | None
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")
    n: int = Field(description="items scored")
    unit: str
    higher_is_better: bool | None = Field(description="None where neither way is better by itself")
    version: int = Field(description="of the metric's meaning")
    interval: str = Field(description="how the interval was made")
    signature: str | None = Field(
        default=None, description="the library's own description of it, and what else it depends on"
    )
    reason: str | None = Field(default=None, description="why a number is missing")
    per_label: dict[str, LabelScores] | None = Field(default=None, description="of metrics of labels, for one run")


class PhaseCost(Part):
    """What a phase took."""

    seconds: float
    peak_bytes: int | None = Field(description="largest memory in use during this phase alone")
    memory: str = Field(description="what peak_bytes counts, or why it is missing")


class Throughput(Part):
    """Tokens per second, each over its own work only."""

    train_tokens_per_second: float | None = Field(
        default=None,
        description="tokens in training examples, padding excluded, over the seconds of the updates",
    )
    generate_tokens_per_second: float | None = Field(default=None, description="new tokens of all answers")
    reason: str | None = None


class TokenCounts(Part):
    """Tokens that training went through, over all epochs."""

    train: int = Field(description="tokens of training examples, padding excluded")
    supervised: int = Field(description="of these, tokens that carried loss")
    computed: int | None = Field(
        default=None,
        description="tokens that the network saw: shared beginnings once, nothing after the last that is predicted; "
        "None in records of before this was counted",
    )
    padding: int = Field(description="padding computed besides, within `computed`")
    packed: bool | None = Field(
        default=None, description="whether texts lay end to end in one row; false: padded, one a row (log.txt says why)"
    )
    cut_examples: int = Field(default=0, description="training examples longer than max_length, cut there")
    cut_tokens: int = Field(default=0, description="tokens those examples lost")


class Parameters(Part):
    """Number of weights."""

    total: int
    trainable: int
    weight_bytes: int | None = Field(
        default=None, description="of all weights as they lie in memory, scales of quantised ones included"
    )
    trainable_bytes: int | None = Field(default=None, description="of these, what is trained")


class PlannedPhase(Part):
    """What was predicted of a phase."""

    peak_bytes: int | None = Field(description="as the phase itself is measured")
    seconds: float | None
    terms: dict[str, int] = Field(
        default={},
        description="bytes of the peak: weights, adapter, gradients, optimizer, activations, logits, cache, …",
    )
    factor: float = Field(default=1.0, description="what seconds were multiplied by, after runs on the same device")
    reason: str | None = Field(default=None, description="why a number is missing")


Fit = Literal["fits", "tight", "does_not_fit", "unknown"]


class Plan(Part):
    """What was predicted before the run. ``peak_bytes`` is the largest of its phases, ``seconds`` their sum."""

    peak_bytes: int | None = None
    seconds: float | None = None
    reason: str | None = "no plan was made before this run"
    device: str | None = Field(default=None, description="for which it was made; `fairtune devices` lists them")
    budget_bytes: int | None = Field(default=None, description="what the run may take; None where nobody knows")
    verdict: Fit = "unknown"
    binding: str | None = Field(default=None, description="what the peak is mostly made of")
    phases: dict[Phase, PlannedPhase] = {}
    simulated: bool = Field(default=True, description="false: a bound, since the model's code cannot be simulated")
    batch_tokens: int | None = Field(default=None, description="most tokens of a pass that fit; None where not sought")
    advice: str | None = Field(default=None, description="the cheapest change with which it fits")
    assumed: tuple[str, ...] = Field(default=(), description="what was not known, and taken to be so")


class Overlap(Part):
    """What two parts of the data share in one way; each pair of rows counts under the sharpest kind it has."""

    between: tuple[str, str] = Field(description="names of the parts; the same name twice: rows of one part")
    kind: Literal["exact", "normalised", "near"] = Field(
        description="exact: the same messages; normalised: the same question but for case, white space, punctuation "
        "and Unicode form (of plain text, the same 13 words); near: runs of three words with a Jaccard similarity of "
        "0.8, or as much of the second row's question inside the first row"
    )
    pairs: int | None = Field(description="pairs of rows; None where they were not counted")
    ids: tuple[str, ...] = Field(default=(), description="rows of the second part, or later rows of the same")
    reason: str | None = Field(default=None, description="why pairs is missing")


class Leakage(Part):
    """Items that stand in another part too: word for word, but for case and marks, or nearly (see Overlap)."""

    test_in_train: int = Field(description="test items that stand in the training part in any of these ways")
    test_in_validation: int = Field(default=0, description="the best epoch was chosen on them")
    validation_in_train: int = Field(description="validation items that stand in the training part")
    ids: tuple[str, ...] = Field(default=(), description="the test items of both counts")
    overlaps: tuple[Overlap, ...] = Field(default=(), description="everything that was found, by parts and kind")
    duplicates: int | None = Field(
        default=None, description="rows of the training data that say, normalised, what an earlier one says"
    )
    left_out: int | None = Field(
        default=None,
        description="rows left out of training, since they are nearly an item that was taken out of the same data",
    )
    allowed: bool | None = Field(default=None, description="whether the study says `allow_leakage`")
    reason: str | None = Field(
        default="this record was written before these were looked for",
        description="why duplicates, left_out or allowed are missing",
    )

    def kinds(self, first: str, second: str) -> str:
        """``2 exact, 1 near``: how many rows of the second part stand in the first, by kind."""
        found = [overlap for overlap in self.overlaps if overlap.between == (first, second) and overlap.ids]
        return ", ".join(f"{len(overlap.ids):,} {overlap.kind}" for overlap in found)


class Augmentation(Part):
    """Changed copies of training examples, which training went through besides the originals."""

    kind: str
    label: str
    originals: int = Field(description="training examples before, all kept")
    asked: int = Field(description="copies asked for: ratio × originals")
    added: int = Field(description="copies that training went through")
    not_made: int = Field(description="asked for, and no draft asked anything new")
    held_out: int = Field(description="drafts thrown away: they asked what a validation or test example asks")
    no_room: int = Field(default=0, description="made, and left out: the prompt filled training.max_length")
    seconds: float = Field(description="of the load phase, for making them; never part of training")


class BadRows(Part):
    """Rows of the data that could not be used and were left out, since the task says `on_bad_rows: skip`."""

    count: int
    listed: tuple[str, ...] = Field(description="file, line, what was found and expected; the first thousand")


class DataFinding(Part):
    """What is wrong with the training examples as this model reads them."""

    name: str
    severity: Literal["error", "warning", "note"]
    count: int = Field(description="training examples that have it")
    share: float = Field(description="of all training examples")
    ids: tuple[str, ...] = Field(default=(), description="the first of them")
    text: str = Field(description="what is wrong and what to do")


class BenchmarkLeakage(Part):
    """Scored items of a benchmark that stand in the data of the run's task; their answers do not matter."""

    in_train: int = Field(description="items that are asked in the training part, or stand in it")
    in_validation: int = Field(description="the best epoch was chosen on them")
    ids: tuple[str, ...] = Field(default=(), description="of both counts, as in examples/: task/number")
    kinds: dict[str, int] = Field(
        default={}, description="these items by the sharpest way in which they stand there, as in Overlap"
    )
    reason: str | None = Field(default=None, description="why near ones were not looked for, or not counted")


class BenchmarkNote(Part):
    """What is to be known of a benchmark besides its numbers."""

    name: str
    items: int = Field(description="that were scored")
    requests: int = Field(description="that the model was asked: an answer to choose from is one")
    cut_requests: int = Field(
        default=0, description="whose context was longer than the model reads, and lost its beginning"
    )
    cut_tokens: int = Field(default=0, description="tokens that those lost")
    cached: bool = Field(default=False, description="whether the same weights had answered the same requests before")
    seconds: float | None = Field(
        default=None, description="that answering and scoring took when it was done; cached or not"
    )
    leakage: BenchmarkLeakage | None = Field(
        default=None, description="None where no training data are known, and in records of before this was looked for"
    )


class EarlyStop(Part):
    """Where training ended before its planned end, since the validation loss had ceased to fall."""

    patience: int = Field(description="epochs in a row without a lower validation loss, as the recipe allows")
    epoch: int = Field(description="the last that was trained")
    update: int = Field(description="updates that were made")
    planned: int = Field(description="updates there would have been; the learning rate was scheduled over these")


class Pruned(Part):
    """Where a trial ended before its time, since earlier trials had done better by then."""

    epoch: int = Field(description="the last that was trained")
    update: int = Field(description="updates that were made")
    planned: int = Field(description="updates there would have been")
    loss: float = Field(description="its lowest validation loss by then")
    limit: float = Field(description="median validation loss of the earlier trials after that epoch")

    @property
    def told(self) -> str:
        """In words."""
        return (
            f"pruned after epoch {self.epoch} (update {self.update} of {self.planned}): validation loss "
            f"{self.loss:.4g}, above {self.limit:.4g}, the median of earlier trials"
        )


class Resumption(Part):
    """A later attempt at a run, which went on with the training of the one before, or could not.

    Seconds and tokens of the training, its throughput and its curve are those of all updates that count, each once: an
    update that was lost and made again counts as it was made last. The training's peak is the largest of the last
    attempt and of the earlier ones up to their checkpoints. Other phases are those of the last attempt alone.
    """

    update: int = Field(description="updates that were there already; 0: training began anew, and remarks say why")
    at: str = Field(description="UTC, ISO 8601")
    remarks: tuple[str, ...] = Field(
        default=(), description="checkpoints that were damaged or of another making; what differs of the machine"
    )


class Selection(Part):
    """Which epoch's weights were kept."""

    best_epoch: int | None
    validation_losses: tuple[float, ...] = Field(description="nats per supervised token after each epoch")
    rule: str
    stopped: EarlyStop | None = Field(default=None, description="None where early stopping did not end the training")
    pruned: Pruned | None = Field(default=None, description="of trials alone; None where others were not better")


def kept_loss(selection: Selection) -> float | None:
    """Validation loss of the weights that training ends with; None where there was no validation."""
    if not selection.validation_losses:
        return None
    epoch = selection.best_epoch or len(selection.validation_losses)
    return selection.validation_losses[epoch - 1]


class LossScaling(Part):
    """What fp16 needed: losses multiplied so that gradients fit, and updates skipped where they did not."""

    skipped_updates: int = Field(
        description="of all updates, those that moved no weight; curve.jsonl has no norm there"
    )
    updates: int = Field(description="all updates")
    scale: float = Field(description="by which losses were multiplied at the end")


class Provenance(Part):
    """Enough to know where a number came from."""

    fairtune: str
    packages: dict[str, str]
    python: str
    platform: str
    device: str | None = Field(description="None where the process ended before it chose one")
    device_name: str | None
    threads: int | None = Field(description="threads of one operation; with another number a CPU may round otherwise")
    processes: int = Field(default=1, description="that shared the training")
    strategy: str | None = Field(default=None, description="how they shared it; None for one process")
    git_commit: str | None
    git_dirty: bool | None
    git_reason: str | None = None
    command: tuple[str, ...]
    started: str = Field(description="UTC, ISO 8601")
    model_fingerprint: str
    data_fingerprint: str


class RunRecord(BaseModel):
    """Everything that happened to one run."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: Literal[1] = VERSION
    run_id: str
    study: str
    status: Status
    error: ErrorInfo | None = None
    spec: RunSpec
    metrics: dict[str, MetricValue] = {}
    phases: dict[Phase, PhaseCost] = {}
    throughput: Throughput = Throughput(reason="no training")
    tokens: TokenCounts | None = None
    parameters: Parameters | None = None
    plan: Plan = Plan()
    leakage: Leakage | None = None
    augmentation: Augmentation | None = Field(default=None, description="None where nothing was added to the examples")
    bad_rows: BadRows | None = Field(default=None, description="None where every row was used")
    data_findings: tuple[DataFinding, ...] = ()
    benchmarks: tuple[BenchmarkNote, ...] = ()
    selection: Selection | None = None
    loss_scaling: LossScaling | None = Field(default=None, description="None where losses were not scaled")
    resumed: tuple[Resumption, ...] = Field(default=(), description="empty where one attempt did all")
    provenance: Provenance | None = None
