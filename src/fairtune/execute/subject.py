"""What is scored without training: a model, adapters on it, or a run that has finished."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fairtune.errors import ModelError, SpecError
from fairtune.execute.benchmarks import weights_key
from fairtune.execute.find import find_run, finished
from fairtune.methods import METHODS
from fairtune.methods.folder import CONFIG, require_adapter, wearing
from fairtune.models import identify
from fairtune.records import RunFolder
from fairtune.study import (
    Budget,
    MethodChoice,
    MetricChoice,
    ModelChoice,
    ModelRef,
    Precision,
    RunSpec,
    TaskChoice,
    run_id,
)

if TYPE_CHECKING:
    from fairtune.methods import Tuned
    from fairtune.models.load import LanguageModel

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What is to be scored, on what.

    Attributes:
        model: as in a study, or an adapter's folder, or a run's folder, or the beginning of its id.
        tasks: benchmarks, shipped tasks, or files of either.
        adapters: folders in PEFT's layout, scored over the model one after the other, after the model itself.
        limit: items of each task.
        precision: None for the run's own, or fp32.
    """

    model: str
    tasks: tuple[str, ...]
    adapters: tuple[Path, ...] = ()
    limit: int | None = None
    num_fewshot: int | None = None
    precision: Precision | None = None
    device: str = "auto"


class Subject(Protocol):
    """What is scored."""

    def models(self, say: Say) -> Iterator[tuple[str, Tuned, str]]:
        """Every model in turn: its name, the model, and what stands for its weights."""

    def spec_for(self, task: TaskChoice, metrics: tuple[MetricChoice, ...]) -> RunSpec:
        """The run that would score it on a task."""


@dataclass(frozen=True)
class Untrained:
    """A model, and adapters over it. ``itself``: the model is scored without them too."""

    model: ModelChoice
    precision: Precision
    device: str
    adapters: tuple[Path, ...] = ()
    itself: bool = True

    def models(self, say: Say) -> Iterator[tuple[str, Tuned, str]]:
        """Every model in turn: its name, the model, and what stands for its weights."""
        from fairtune.methods import Tuned

        model = self._opened(say)
        if self.itself:
            yield self.model.name, Tuned(model), self.key(None)
        for adapter in self.adapters:
            with wearing(model, adapter) as tuned:
                # Not merged: taking a merged adapter out again leaves roundings for the next one.
                yield f"{self.model.name} + {adapter}", Tuned(tuned.model), self.key(adapter)

    def key(self, adapter: Path | None) -> str:
        """What stands for the weights with an adapter over them."""
        return weights_key(self.model, _untouched(), _SEED, adapter)

    def spec_for(self, task: TaskChoice, metrics: tuple[MetricChoice, ...]) -> RunSpec:
        """The run that would score it on a task."""
        draft = RunSpec(
            run_id="",
            study="eval",
            model=self.model,
            method=_untouched(),
            task=task,
            precision=self.precision,
            training=None,
            metrics=metrics,
            seed=_SEED,
            budget=Budget(device=self.device),
        )
        return draft.model_copy(update={"run_id": run_id(draft)})

    def _opened(self, say: Say) -> LanguageModel:
        from fairtune.models import fetch
        from fairtune.models.device import choose_device
        from fairtune.models.opening import LONGEST, context_of, open_model, open_tokenizer

        weights, device = fetch(self.model, say), choose_device(self.device)
        tokenizer = open_tokenizer(self.model, weights, ())
        longest = context_of(self.model, weights) or LONGEST
        return open_model(self.model, weights, tokenizer, self.precision, device, longest, _SEED)


# Draws the weights of models from scratch, of which none can be asked for here, and answers of tasks that sample.
_SEED = 0


def _untouched() -> MethodChoice:
    name = next(name for name, method in METHODS.items() if not method.trains)
    return MethodChoice(name=name, trains=False, label=name)


@dataclass(frozen=True)
class Trained:
    """A run that has finished."""

    spec: RunSpec
    folder: RunFolder

    def models(self, say: Say) -> Iterator[tuple[str, Tuned, str]]:
        """Every model in turn: its name, the model, and what stands for its weights."""
        from fairtune.execute.restore import restore_run, saved_by
        from fairtune.models import fetch
        from fairtune.models.device import choose_device
        from fairtune.models.opening import LONGEST, context_of

        spec = self.spec
        longest = context_of(spec.model, fetch(spec.model, say)) or LONGEST
        tuned = restore_run(spec, self.folder, choose_device(spec.budget.device), longest, say)
        key = weights_key(spec.model, spec.method, spec.seed, saved_by(spec, self.folder))
        yield f"{spec.cell} (run {spec.run_id})", tuned, key

    def spec_for(self, task: TaskChoice, metrics: tuple[MetricChoice, ...]) -> RunSpec:
        """The run that would score it on a task."""
        changes = {"task": task, "metrics": metrics, "training": None, "benchmarks": (), "teacher": None}
        return self.spec.model_copy(update=changes)


def subject_of(asked: Asked, runs: Path) -> Subject:
    """What is meant, told from names and files alone.

    Raises:
        SpecError: options that do not go with a run.
        ModelError: a model or adapter that cannot be had or used, or an adapter whose base cannot.
        RecordError: a run that has not finished.
    """
    for adapter in asked.adapters:
        require_adapter(adapter)
    run = _run(asked, runs)
    if run is not None:
        return _finished(asked, run)
    precision: Precision = asked.precision or "fp32"
    folder = Path(asked.model)
    if (folder / CONFIG).is_file() and not (folder / "config.json").is_file():
        return Untrained(_base_of(folder, asked), precision, asked.device, (folder, *asked.adapters), itself=False)
    model = identify(ModelRef(source=asked.model), Path())
    return Untrained(model, precision, asked.device, asked.adapters)


def _finished(asked: Asked, run: RunFolder) -> Trained:
    record = finished(run)
    if asked.adapters:
        raise SpecError(f"{asked.model} is a run: it has an adapter of its own, or none; --adapter is for models")
    if asked.precision not in (None, record.spec.precision):
        raise SpecError(f"--precision {asked.precision}: run {record.run_id} is one of {record.spec.precision}")
    return Trained(record.spec.model_copy(update={"budget": Budget(device=asked.device)}), run)


def _run(asked: Asked, runs: Path) -> RunFolder | None:
    """The run that is meant, if one is: a folder with a spec, or the beginning of an id that is no folder's name."""
    if (Path(asked.model) / "spec.json").is_file():
        return RunFolder(Path(asked.model))
    ids = [path.parent.name for path in runs.glob("*/*/spec.json")]
    if Path(asked.model).exists() or not any(name.startswith(asked.model) for name in ids):
        return None
    return find_run(asked.model, runs)


def _base_of(adapter: Path, asked: Asked) -> ModelChoice:
    """The model that an adapter says it is for."""
    require_adapter(adapter)
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    source, revision = config.get("base_model_name_or_path"), config.get("revision")
    tasks = " ".join(f"--task {shlex.quote(task)}" for task in asked.tasks)
    advice = f"write its base for MODEL: fairtune eval MODEL --adapter {shlex.quote(str(adapter))} {tasks}"
    if not source:
        raise ModelError(f"adapter {adapter}: its {CONFIG} names no base_model_name_or_path; {advice}")
    try:
        return identify(ModelRef(source=source, revision=revision), Path())
    except ModelError as error:
        raise ModelError(f"adapter {adapter}: its base '{source}' cannot be had: {error}; {advice}") from None
