"""Distillation: a student learns the teacher's probabilities of every next token, not the answer alone.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2: the loss of a token is
``alpha T^2 KL(p || q) + (1 - alpha) CE``, where ``p`` and ``q`` are the softmax of the teacher's and the student's
logits over ``T``. The teacher's ``p`` is kept for its ``top_k`` most likely tokens, and all others are one further
outcome: by the log-sum inequality that KL is a lower bound of the whole one, and equals it for ``top_k: all``. The
teacher's part is computed once, before the student is loaded, and read from disk (models/lessons.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator

from fairtune.errors import Problem, SpecError, suggest
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Precision, Strict, TeacherRef, Training

if TYPE_CHECKING:
    from torch import Tensor

    from fairtune.data import Encoded
    from fairtune.models.lessons import Lesson, Lessons
    from fairtune.models.load import LanguageModel
    from fairtune.models.quantize import Quantization


def _named(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def _entry(value: Any) -> Any:
    return {value: {}} if isinstance(value, str) else value


class DistillOptions(Strict):
    """Who teaches, what of it is kept, and how the student is trained."""

    teacher: Annotated[TeacherRef, BeforeValidator(_named)] = Field(
        description="a model, or {run: full, model: NAME}: a run of this study"
    )
    student: Annotated[dict[str, dict[str, Any]], BeforeValidator(_entry)] = Field(
        default={"full": {}}, description="the method that trains the student: a name, or {name: {its own options}}"
    )
    top_k: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default=100, description="most likely tokens of the teacher that are kept; the others are one outcome"
    )
    temperature: Annotated[float, Field(gt=0)] = Field(default=1.0, description="softens both distributions")
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="weight of the teacher; the answers themselves have the rest"
    )

    @field_validator("student")
    @classmethod
    def _a_method(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if len(value) != 1:
            raise ValueError(f"needs one method, found {', '.join(value) or 'none'}")
        name, options = next(iter(value.items()))
        method = _students().get(name)
        if method is None:
            raise ValueError(f"no method '{name}' for a student; {suggest(name, _students())}")
        try:
            return {name: method.options.model_validate(options or {}).model_dump(mode="json", exclude_defaults=True)}
        except ValidationError as error:
            told = [_told(name, detail["loc"], detail["msg"]) for detail in error.errors()]
            raise ValueError("; ".join(told)) from None


def _told(name: str, path: tuple[Any, ...], message: str) -> str:
    key = ".".join(map(str, path))
    if key in Training.model_fields:
        return f"{name}.{key} belongs to the recipe; write it beside `student`, not inside"
    return f"{name}.{key}: {message}"


def _students() -> Mapping[str, Method]:
    from fairtune.methods import METHODS  # the table holds this method too

    return {name: method for name, method in METHODS.items() if method.trains and method is not DISTILL}


def _inner(options: Mapping[str, Any]) -> tuple[Method, Mapping[str, Any]]:
    """The student's method, and its options."""
    name, own = next(iter(options["student"].items()))
    return _students()[name], own


@dataclass(frozen=True)
class Classroom:
    """The loss of a student at its lessons; everything else of a run is the student's method's."""

    model: LanguageModel
    lessons: Lessons
    options: DistillOptions

    def token_losses(self, batch: Sequence[Encoded]) -> Tensor:
        """Teacher and answer mixed, for every supervised token, ``(tokens,)`` in fp32, in nats."""
        from torch.nn.functional import cross_entropy

        from fairtune.models.likelihood import supervised_logits

        logits, answers, _ = supervised_logits(self.model, batch)
        lesson = self.lessons.of(batch, self.model.device)
        temperature, alpha = self.options.temperature, self.options.alpha
        soft = divergence(logits[:, : self.lessons.width], lesson, temperature)
        hard = cross_entropy(logits, answers, reduction="none")
        return alpha * temperature**2 * soft + (1 - alpha) * hard


def divergence(logits: Tensor, lesson: Lesson, temperature: float) -> Tensor:
    """``KL(p || q)`` for each token, ``(tokens,)``, over the kept outcomes and, if any are left, the rest as one.

    Args:
        logits: the student's, ``(tokens, vocabulary)`` in fp32.
        lesson: the teacher's log-probabilities at this temperature.
    """
    import torch

    from fairtune.models.lessons import log_rest

    log_q = (logits / temperature).log_softmax(-1)
    if lesson.ids is None:
        return (lesson.log_p.exp() * (lesson.log_p - log_q)).sum(-1)
    kept = (lesson.log_p.exp() * (lesson.log_p - log_q.gather(-1, lesson.ids))).sum(-1)
    tail = lesson.log_tail.exp()
    return kept + torch.where(tail > 0, tail * (lesson.log_tail - log_rest(log_q, lesson.ids)), 0.0)


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    from fairtune.models.lessons import Lessons

    if course.lessons is None:
        raise SpecError([Problem("methods.distill.teacher", "there are no lessons; a run prepares them")])
    method, own = _inner(options)
    student = method.attach(model, own, course)
    student.objective = Classroom(model, Lessons(course.lessons), DistillOptions.model_validate(options)).token_losses
    return student


def _restore(model: LanguageModel, options: Mapping[str, Any], folder: Path) -> Tuned:
    method, own = _inner(options)
    return method.restore(model, own, folder)


def _quantization(options: Mapping[str, Any], precision: Precision) -> Quantization | None:
    method, own = _inner(options)
    return method.quantization(own, precision)


def _virtual_tokens(options: Mapping[str, Any]) -> int:
    method, own = _inner(options)
    return method.virtual_tokens(method.options.model_validate(own).model_dump())


DISTILL = Method(
    name="distill",
    summary="what its student's method trains, towards a teacher's probabilities",
    paper="Hinton et al. 2015, arXiv:1503.02531",
    formula="that of the student's method",
    options=DistillOptions,
    attach=_attach,
    restore=_restore,
    learning_rate=None,
    learning_rate_reason="that of the student's method: the loss has the same scale",
    quantization=_quantization,
    inner=_inner,
    virtual_tokens=_virtual_tokens,
    starts_elsewhere="as the student's method",
)
