"""The part that all methods of PEFT share: attach, merge, save in PEFT's layout, restore."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.errors import Problem, SpecError
from fairtune.methods.protocol import Course, Tuned

if TYPE_CHECKING:
    from fairtune.models.load import LanguageModel


class PeftTuned(Tuned):
    """A network wrapped by PEFT. Adapters are fp32 whatever the base is: small updates must not vanish."""

    @property
    def mergeable(self) -> bool:  # type: ignore[override]
        """Whether PEFT can fold it into the weights. A quantised base would be quantised again, to another model."""
        tuner = self.model.network.base_model
        return hasattr(tuner, "merge_adapter") and not getattr(
            self.model.network.get_base_model(), "hf_quantizer", None
        )

    def merge(self) -> None:
        """Folds the adapter into the weights, once."""
        if not self.merged:
            self.model.network.merge_adapter()

    def unmerge(self) -> None:
        """Takes the adapter out of the weights, if it is in."""
        if self.merged:
            self.model.network.unmerge_adapter()

    @property
    def merged(self) -> bool:
        """Whether the adapter is folded in now."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        return any(layer.merged for layer in self.model.network.modules() if isinstance(layer, BaseTunerLayer))

    def save(self, folder: Path) -> None:
        """PEFT's own layout: adapter_config.json and adapter_model.safetensors."""
        # The vocabulary is never changed; without this PEFT asks a hub whether it was.
        self.model.network.save_pretrained(str(folder), save_embedding_layers=False)


def wrap(model: LanguageModel, config: Any, course: Course, kind: type[PeftTuned] = PeftTuned) -> PeftTuned:
    """The model with a fresh adapter of this configuration.

    Raises:
        SpecError: PEFT finds that the configuration does not suit the model.
    """
    import torch
    from peft import get_peft_model

    torch.manual_seed(course.seed)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fan_in_fan_out is set to", UserWarning)  # PEFT then sets it right
            model.network = get_peft_model(model.network, config)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise SpecError([Problem("methods", f"{config.peft_type.value.lower()}: {error}")]) from error
    model.gate.move_to(model.network.get_output_embeddings())
    return kind(model)


def attacher(
    configure: Callable[[LanguageModel, Any, Course], Any], options: type[Any], kind: type[PeftTuned] = PeftTuned
) -> Callable[[LanguageModel, Mapping[str, Any], Course], Tuned]:
    """An ``attach`` from a function that makes PEFT's configuration."""

    def attach(model: LanguageModel, chosen: Mapping[str, Any], course: Course) -> Tuned:
        return wrap(model, configure(model, options.model_validate(chosen), course), course, kind)

    return attach


def restore(model: LanguageModel, options: Mapping[str, Any], folder: Path) -> Tuned:
    """The base with a saved adapter, frozen."""
    from peft import PeftModel

    model.network = PeftModel.from_pretrained(model.network, str(folder))
    model.gate.move_to(model.network.get_output_embeddings())
    return PeftTuned(model)
