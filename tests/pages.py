"""Studies as they lie on disk after a run, made without a model: for tests of the report's page."""

from __future__ import annotations

import random
from pathlib import Path

from fairtune.evaluate.metrics import Outcome
from fairtune.execute.results import score
from fairtune.records import (
    ErrorInfo,
    Parameters,
    PhaseCost,
    Plan,
    PlannedPhase,
    Provenance,
    RunFolder,
    RunRecord,
    Throughput,
    TokenCounts,
)
from fairtune.report import Entry, Report, collect
from fairtune.study import RunSpec
from tests.unit.test_study import runs_of

STUDY = """
name: animals
task: cldr-spanish
models: ./model
methods: [base, full, {lora: {rank: [4, 16]}}]
evaluate: [perplexity, bleu, rouge_l, exact_match, answer_length]
seeds: [0, 1]
"""

_WORDS = ("perro", "gato", "casa", "árbol", "mesa", "libro", "calle", "puerta", "ventana", "jardín", "noche", "día")
_STARTED = "2026-11-20T10:00:00+00:00"


def outcomes(skill: float, seed: int, items: int = 60) -> list[Outcome]:
    """Answers of which a share is right, word by word; the items are the same for every seed."""
    questions, answers = random.Random(0), random.Random(seed)
    found = []
    for at in range(items):
        reference = questions.choices(_WORDS, k=questions.randint(4, 9))
        said = [word if answers.random() < skill else answers.choice(_WORDS) for word in reference]
        loss = len(reference) * (1.5 - skill + 0.2 * answers.random())
        text = " ".join(reference)
        more = {"loss": loss, "loss_tokens": len(reference), "output_tokens": len(said), "stopped": True}
        found.append(Outcome(f"item{at}", "asked", text, output=" ".join(said), **more))
    return found


def finished(spec: RunSpec, folder: Path, answered: list[Outcome]) -> Entry:
    """A run with scores, costs and provenance."""
    run = RunFolder(folder / spec.run_id)
    run.examples("x").parent.mkdir(parents=True)
    metrics = score(spec, answered, run, "likelihood") | score(spec, answered, run, "generation")
    phases = ("load", *(("train",) if spec.method.trains else ()), "evaluate", "generate")
    costs = {phase: PhaseCost(seconds=3.5, peak_bytes=9 * 2**25, memory="resident") for phase in phases}
    planned = {phase: PlannedPhase(peak_bytes=2**28, seconds=4.0) for phase in phases}
    record = RunRecord(
        run_id=spec.run_id,
        study=spec.study,
        status="ok",
        spec=spec,
        metrics=metrics,
        phases=costs,
        throughput=Throughput(train_tokens_per_second=812.0 if spec.method.trains else None),
        tokens=TokenCounts(train=5200, supervised=2100, padding=0, packed=True) if spec.method.trains else None,
        parameters=Parameters(total=10**6, trainable=2 * 10**4 if spec.method.trains else 0, weight_bytes=4 * 10**6),
        plan=Plan(peak_bytes=2**28, seconds=14.0, reason=None, verdict="fits", phases=planned),
        provenance=provenance(),
    )
    return Entry(spec, run, record)


def failed(spec: RunSpec, folder: Path, status: str, message: str) -> Entry:
    """A run without results, and the reason."""
    error = ErrorInfo(phase="train", kind="DivergedError", message=message)
    record = RunRecord(run_id=spec.run_id, study=spec.study, status=status, spec=spec, error=error)
    return Entry(spec, RunFolder(folder / spec.run_id), record)


def missing(spec: RunSpec, folder: Path) -> Entry:
    """A run that nobody started."""
    return Entry(spec, RunFolder(folder / spec.run_id), None)


def provenance() -> Provenance:
    return Provenance(
        fairtune="0.1.0",
        packages={"torch": "2.9.0", "peft": "0.18.0"},
        python="CPython 3.11.7",
        platform="Linux",
        device="cpu",
        device_name="a processor",
        threads=2,
        git_commit="0123456789abcdef",
        git_dirty=False,
        command=("fairtune", "run", "animals.yaml"),
        started=_STARTED,
        model_fingerprint="m" * 12,
        data_fingerprint="d" * 12,
    )


def report(folder: Path, items: int = 60) -> Report:
    """Four methods with two seeds: the last run of one diverged, and one method has no results at all."""
    entries = []
    skills = {"base": 0.3, "full": 0.55, "lora rank=4": 0.33}
    for spec in runs_of(folder, STUDY):
        label = spec.method.label
        if label not in skills:
            entries.append(failed(spec, folder, "out_of_memory", "needed 21 GiB of 20 GiB in phase train"))
        elif label == "lora rank=4" and spec.seed == 1:
            entries.append(failed(spec, folder, "diverged", "the loss is nan at update 12"))
        else:
            number = 10 * list(skills).index(label) + spec.seed
            entries.append(finished(spec, folder, outcomes(skills[label], number, items)))
    return collect("animals", entries)
