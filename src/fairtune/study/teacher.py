"""Who teaches a run: a model of its own, or another run of the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fairtune.errors import Problem, SpecError, suggest
from fairtune.study.spec import ModelChoice, ModelRef, RunSpec, TeacherChoice, TeacherRef
from fairtune.study.vocabulary import TEACHER


def find_teacher(
    student: RunSpec,
    runs: Sequence[RunSpec],
    identify: Callable[[ModelRef], ModelChoice],
    tuned: Sequence[RunSpec] = (),
) -> TeacherChoice:
    """The teacher that a run's options name.

    Args:
        runs: those of the study that come before the student.
        tuned: of methods that are tuned, a run each; what it will be is not known.

    Raises:
        SpecError: no such run; the student itself is meant; several are; it is a run of a method that is tuned.
        ModelError: no such model.
    """
    ref = TeacherRef.model_validate(student.method.options[TEACHER])
    if ref.run is None:
        source = ref.source or ""
        model = identify(
            ModelRef(source=source, revision=ref.revision, trust_remote_code=ref.trust_remote_code, name=None)
        )
        return TeacherChoice(name=model.name, model=model)
    name = ref.model or student.model.name
    found = [
        run
        for run in runs
        if run.method.label == ref.run and run.model.name == name and run.precision == student.precision
    ]
    # A method that does not train has one run, whatever the seed and the augmentation.
    same_seed = [
        run for run in found if not run.method.trains or (run.seed == student.seed and run.augment == student.augment)
    ]
    if same_seed:
        return TeacherChoice(name=f"{name} {ref.run}", run_id=same_seed[0].run_id)
    if any(run.method.label == ref.run and run.model.name == name for run in tuned):
        told = (
            f"'{ref.run}' is tuned, so which run teaches is not known before its trials are done; give that method its "
            "own values for what `tune` searches, or name a folder with a finished teacher"
        )
        raise SpecError([Problem(f"methods.{student.method.name}.{TEACHER}", told)])
    raise SpecError([Problem(f"methods.{student.method.name}.{TEACHER}", _missing(ref.run, name, [*runs, *tuned]))])


def _missing(label: str, model: str, runs: Sequence[RunSpec]) -> str:
    if not any(run.model.name == model for run in runs):
        return f"no model is called '{model}'; {suggest(model, {run.model.name for run in runs})}"
    labels = {run.method.label for run in runs if run.model.name == model}
    return f"{model} has no run '{label}' that comes before; {suggest(label, labels)}"
