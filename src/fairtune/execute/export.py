"""Writes a run in another form, loads it again from its files, and says how near it is to the run."""

from __future__ import annotations

import gc
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fairtune
from fairtune.data import Encoded, Splits, encode_all
from fairtune.errors import BudgetError, ModelError
from fairtune.evaluate import llama_cpp
from fairtune.evaluate.metrics import metrics_of
from fairtune.evaluate.parity import LogitFile, Seen, observe
from fairtune.execute.checked import seeds
from fairtune.execute.find import Asked, finished
from fairtune.execute.items import encode_parts, own_splits, scored_items
from fairtune.execute.origin import utc_now
from fairtune.execute.restore import adapter_of, is_whole, merged_run, restore_run, saved_by, tokenizer_of
from fairtune.methods import METHODS, Tuned
from fairtune.models import fetch
from fairtune.models.device import choose_device
from fairtune.models.export import Finished
from fairtune.models.likelihood import See
from fairtune.models.load import LanguageModel
from fairtune.models.opening import context_of
from fairtune.models.sources import Say
from fairtune.records import (
    AnswersCompared,
    LlamaCpp,
    LogitsCompared,
    LossCompared,
    Parity,
    RunFolder,
    package_versions,
    read_lines,
    write_atomically,
)
from fairtune.study import Generation, RunSpec


@dataclass(frozen=True)
class Items:
    """A run's test items as it was scored on them."""

    splits: Splits
    whole: Sequence[Encoded]
    """As they were read: a document not yet in windows."""
    encoded: list[Encoded]
    longest: int


def export_run(folder: RunFolder, asked: Asked, say: Say) -> Parity:
    """Does all of it; the target appears at the end, whole, with its ``parity.json``.

    Raises:
        RecordError: the run did not succeed, or its files are gone.
        DataError: its test items are not what they were.
        ModelError: the run cannot have this form.
        BudgetError: no space.
    """
    spec = finished(folder).spec
    items = _items(spec, folder, say)
    run = Finished(
        spec,
        _described_in(spec, folder, say),
        adapter_of(spec, folder),
        lambda: merged_run(spec, folder, items.longest, say),
        lambda adapter, device: restore_run(spec, folder, device, items.longest, say, adapter).model,
        _code_of(spec),
        items.longest,
    )
    asked.format.require(run)
    unfinished = asked.output.with_name(f".{asked.output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of libraries, to their developers
            parity = _made(run, folder, asked, items, unfinished, say)
        write_atomically(unfinished / "parity.json", parity.model_dump_json(indent=1) + "\n")
        _put_in_place(unfinished, asked.output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return parity


def _code_of(spec: RunSpec) -> str | None:
    found = METHODS[spec.method.name].quantization(spec.method.options, spec.precision)
    return None if found is None else found.code


def _described_in(spec: RunSpec, folder: RunFolder, say: Say) -> Path:
    """A folder with the configuration and tokenizer of the run's model."""
    whole = saved_by(spec, folder) if is_whole(spec) else None
    found = whole or fetch(spec.model, say)
    if found is None:
        raise ModelError(f"run {spec.run_id}: its base was made from scratch and is nowhere to be loaded from")
    return found


def _items(spec: RunSpec, folder: RunFolder, say: Say) -> Items:
    splits = own_splits(spec)
    tokenizer = tokenizer_of(spec, folder, say)
    parts = encode_parts(splits, tokenizer)
    context = context_of(spec.model, fetch(spec.model, say))
    return Items(splits, parts.test, scored_items(spec, parts.test, context, tokenizer), parts.longest)


def _made(run: Finished, folder: RunFolder, asked: Asked, items: Items, target: Path, say: Say) -> Parity:
    say(f"writing {asked.form}{f' ({asked.type_name})' if asked.type_name else ''}")
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise BudgetError(f"{target}: cannot be written: {error.strerror}; choose another --output") from error
    remarks = asked.format.write(run, target, asked.type_name)
    files = {file.name: file.stat().st_size for file in sorted(target.iterdir())}
    gc.collect()
    waiting = target / ".logits"  # in here, so that nothing of it stays if this process is killed
    parity = _compared(run, folder, asked, items, target, LogitFile(waiting, items.encoded), files, remarks, say)
    waiting.unlink()
    return parity


def _compared(
    run: Finished,
    folder: RunFolder,
    asked: Asked,
    items: Items,
    target: Path,
    logits: LogitFile,
    files: dict[str, int],
    remarks: tuple[str, ...],
    say: Say,
) -> Parity:
    spec, device = run.spec, choose_device(run.spec.budget.device)
    say(f"scoring the run on its {len(items.encoded)} test items")
    before = _scored(restore_run(spec, folder, device, items.longest, say), spec, items, logits)
    gc.collect()
    say("loading the export again, and scoring it on the same items")
    model, helped = asked.format.load(run, target, device)
    after = _observed(model, spec, items, logits.compare)
    otherwise = _otherwise(encode_all(items.splits.test, model.tokenizer), items.whole)
    return Parity(
        run_id=spec.run_id,
        study=spec.study,
        run=f"{spec.cell} · seed {spec.seed}",
        form=asked.form,
        type=asked.type_name or None,
        files=files,
        created=utc_now(),
        fairtune=fairtune.__version__,
        packages=package_versions(),
        device=str(device),
        computed=(spec.precision, model.precision),
        items=len(items.encoded),
        logits=LogitsCompared(largest=logits.largest, mean=logits.mean, positions=logits.positions, of=logits.of),
        loss=LossCompared(run=before.loss, export=after.loss, difference=after.loss - before.loss, tokens=after.tokens),
        answers=_answers(items.encoded, before, after),
        items_tokenised_otherwise=otherwise,
        answers_as_recorded=_as_recorded(spec, folder, before),
        llama_cpp=_in_llama_cpp(target, model, spec, items.encoded, before, say),
        remarks=(*remarks, *helped),
    )


def _scored(tuned: Tuned, spec: RunSpec, items: Items, logits: LogitFile) -> Seen:
    """The run as it was scored: its method decides whether an adapter is merged meanwhile."""
    with tuned.scoring():
        return _observed(tuned.model, spec, items, logits.keep)


def _observed(model: LanguageModel, spec: RunSpec, items: Items, see: See) -> Seen:
    """Answers are written as the run wrote its own, of the same seeds."""
    task, own = spec.task.task, seeds(spec, items.encoded, 0)
    return observe(model, items.encoded, task.max_new_tokens, see, task.generation, own)


def _otherwise(found: Sequence[Encoded], own: Sequence[Encoded]) -> int:
    return sum(one.tokens != other.tokens for one, other in zip(found, own, strict=True))


def _answers(items: Sequence[Encoded], before: Seen, after: Seen) -> AnswersCompared:
    if before.answers is None or after.answers is None:
        return AnswersCompared(changed=None, of=len(items), reason="prompts and answers do not fit the context")
    return answers_compared(
        items, [answer.text for answer in before.answers], [answer.text for answer in after.answers]
    )


def answers_compared(items: Sequence[Encoded], run: Sequence[str], export: Sequence[str]) -> AnswersCompared:
    """Which answers are another text."""
    changes = tuple(
        {"id": item.id, "run": one, "export": other}
        for item, one, other in zip(items, run, export, strict=True)
        if one != other
    )
    return AnswersCompared(changed=len(changes), of=len(items), changes=changes)


def _as_recorded(spec: RunSpec, folder: RunFolder, before: Seen) -> int | None:
    """How many answers came out again as the run stored them: what the restored run is worth."""
    stored = next((name for name, metric in metrics_of(spec).items() if metric.needs == "generation"), None)
    if stored is None or before.answers is None or spec.task.task.predict != "generate":
        return None
    rows = read_lines(folder.examples(stored))
    return sum(bool(row["output"] == answer.text) for row, answer in zip(rows, before.answers, strict=True))


def _in_llama_cpp(
    target: Path, model: LanguageModel, spec: RunSpec, items: Sequence[Encoded], before: Seen, say: Say
) -> LlamaCpp | None:
    """The file in llama.cpp, where its binding is installed; None for a form that llama.cpp does not read."""
    file = next(target.glob("*.gguf"), None)
    if file is None:
        return None
    task = spec.task.task
    if before.answers is None:
        return LlamaCpp(version=None, reason="no answers to compare")
    if task.generation != Generation():
        return LlamaCpp(version=None, reason="it is asked greedily, and the task's `generation` is another")
    if not llama_cpp.installed():
        return LlamaCpp(version=None, reason="llama-cpp-python is not installed")
    say("asking llama.cpp the same")
    max_new_tokens = task.max_new_tokens
    longest = max(item.prompt_length for item in items) + max_new_tokens
    with llama_cpp.opened(file, longest) as engine:
        texts = llama_cpp.answers(engine, model.tokenizer, items, max_new_tokens, model.stops)
        otherwise = llama_cpp.tokenised_otherwise(engine, model.tokenizer, items)
    compared = answers_compared(items, [answer.text for answer in before.answers], texts)
    return LlamaCpp(version=llama_cpp.version(), answers=compared, prompts_tokenised_otherwise=otherwise)


def _put_in_place(unfinished: Path, target: Path) -> None:
    """Renames; an export that was there goes only when the new one stands."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    unfinished.rename(target)
    shutil.rmtree(old, ignore_errors=True)
