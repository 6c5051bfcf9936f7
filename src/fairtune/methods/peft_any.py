"""Any further method of PEFT, by its own type and the keys of its own configuration.

``peft: {type: loha, r: 8, target_modules: [q_proj, v_proj]}`` is PEFT's ``LoHaConfig(r=8, target_modules=…)``. A list
is one value here; for a grid, write the entry several times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, model_validator

from fairtune.errors import Problem, SpecError, suggest
from fairtune.methods.peft_tuned import PeftTuned, restore, wrap
from fairtune.methods.prompt import attach_virtual, restore_virtual
from fairtune.methods.protocol import Course, Method, Tuned, counted
from fairtune.study import Strict

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel

# What a run decides by itself, or PEFT while it works.
_OURS = {"task_type", "peft_type", "inference_mode", "auto_mapping", "peft_version", "base_model_name_or_path"}


class PeftOptions(Strict):
    """PEFT's type, and its keys."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="PEFT's name of the method, for example loha, lokr, boft, fourierft, ln_tuning")

    @model_validator(mode="after")
    def _known(self) -> PeftOptions:
        configuration = _configurations().get(self.type.upper())
        if configuration is None:
            raise ValueError(f"unknown type '{self.type}'; {suggest(self.type, _names())}")
        fields = {field.name for field in dataclasses.fields(configuration) if field.init} - _OURS
        for key in self.model_extra or {}:
            if key not in fields:
                raise ValueError(f"'{key}' is no key of {configuration.__name__}; {suggest(key, fields)}")
        return self


def _configurations() -> Mapping[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: configuration for kind, configuration in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def _names() -> list[str]:
    return [name.lower() for name in _configurations()]


def _attach(model: LanguageModel, options: Mapping[str, Any], course: Course) -> Tuned:
    chosen = PeftOptions.model_validate(options)
    keys = {key: value for key, value in (chosen.model_extra or {}).items() if value is not None}
    try:
        config = _configurations()[chosen.type.upper()](task_type="CAUSAL_LM", **keys)
    except (ValueError, TypeError) as error:
        raise SpecError([Problem("methods.peft", f"{chosen.type}: {error}")]) from error
    return attach_virtual(model, config, course) if config.is_prompt_learning else wrap(model, config, course, Unmerged)


class Unmerged(PeftTuned):
    """Scored as it was trained: not every method of PEFT's that says it can be merged can be."""

    mergeable = False


def restore_any(model: LanguageModel, options: Mapping[str, Any], folder: Path) -> Tuned:
    """The base with an adapter of any type."""
    from peft import PeftConfig

    if PeftConfig.from_pretrained(str(folder)).is_prompt_learning:
        return restore_virtual(model, options, folder)
    return restore(model, options, folder)


PEFT = Method(
    name="peft",
    summary="what PEFT's method of that type trains",
    paper=None,
    formula="",
    options=PeftOptions,
    attach=_attach,
    restore=restore_any,
    virtual_tokens=counted,
    learning_rate=1e-3,
    learning_rate_reason="a middle for adapters; look into the method's paper, and give one",
    starts_elsewhere="depends on the type",
    open=True,
)
