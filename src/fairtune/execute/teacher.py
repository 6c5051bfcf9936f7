"""A run's teacher: opened, heard on the training examples, and gone before the student is loaded."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairtune.cache import cache_lock, sha256_of
from fairtune.data import Encoded
from fairtune.errors import ModelError
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.restore import restore_run, saved_by
from fairtune.models import cache_folder, fetch
from fairtune.models.lessons import Syllabus, write_lessons
from fairtune.models.load import LanguageModel
from fairtune.models.opening import open_model, open_tokenizer
from fairtune.records import RunFolder
from fairtune.study import RunSpec, TeacherChoice


def prepare_lessons(
    spec: RunSpec, folder: RunFolder, examples: Sequence[Encoded], tokenizer: Any, longest: int, meter: PhaseMeter
) -> Path | None:
    """The folder of the teacher's log-probabilities for the training examples; None for a run without a teacher.

    Raises:
        ModelError: teacher and student have different vocabularies.
        BudgetError: no disk space.
    """
    if spec.teacher is None:
        return None
    options = spec.method.options
    syllabus = Syllabus(_content(spec.teacher, spec, folder), options["top_k"], options["temperature"])
    target = cache_folder() / "lessons" / syllabus.key(examples)
    with cache_lock(target), meter.phase("teach", len(examples)) as progress:
        if not target.exists():
            model = _opened(spec, spec.teacher, folder, longest, meter)
            model.batching = model.batching.within(spec.budget.batch_tokens)
            _require_same_vocabulary(spec, spec.teacher, tokenizer, model.tokenizer)
            write_lessons(model, examples, syllabus, target, progress.advance)
            del model
            gc.collect()
    return target


def _content(teacher: TeacherChoice, spec: RunSpec, folder: RunFolder) -> str:
    """Stands for the teacher's weights: a run that was done again may have others under the same id."""
    if teacher.model is not None:
        return f"{teacher.model.fingerprint} {spec.precision}"
    there, taught = _teacher_run(teacher, folder)
    saved = saved_by(taught, there)
    files = sorted(saved.glob("*.safetensors")) if saved else []
    return " ".join([f"run {teacher.run_id}", spec.precision, *(sha256_of(file) for file in files)])


def _teacher_run(teacher: TeacherChoice, folder: RunFolder) -> tuple[RunFolder, RunSpec]:
    there = RunFolder(folder.path.parent / str(teacher.run_id))
    return there, RunSpec.model_validate_json(there.spec.read_text(encoding="utf-8"))


def _opened(spec: RunSpec, teacher: TeacherChoice, folder: RunFolder, longest: int, meter: PhaseMeter) -> LanguageModel:
    if teacher.model is None:
        there, taught = _teacher_run(teacher, folder)
        return restore_run(taught, there, meter.device, longest).model
    weights = fetch(teacher.model, print)
    tokenizer = open_tokenizer(teacher.model, weights, ())
    return open_model(teacher.model, weights, tokenizer, spec.precision, meter.device, longest, spec.seed)


def _require_same_vocabulary(spec: RunSpec, teacher: TeacherChoice, student: Any, teachers: Any) -> None:
    ours, theirs = student.get_vocab(), teachers.get_vocab()
    if ours == theirs:
        return
    other = next((f"'{token}'" for token in ours if theirs.get(token) != ours[token]), "tokens of the teacher alone")
    raise ModelError(
        f"teacher {teacher.name} ({len(theirs)} tokens) and student {spec.model.name} ({len(ours)} tokens) have "
        f"different vocabularies, first at {other}: a probability of one is none of the other. Choose a teacher with "
        "the student's tokenizer"
    )
