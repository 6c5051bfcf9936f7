"""The part that all methods of PEFT share: attach, merge, save in PEFT's layout, restore."""

from __future__ import annotations

import warnings
from collections import Counter
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
        """Whether PEFT can fold it into the weights.

        Not into a quantised base, which would be quantised again, to another model; not into a weight that is two
        layers at once (tied embeddings), where it would change the other one too.
        """
        network = self.model.network
        if not hasattr(network.base_model, "merge_adapter") or getattr(network.get_base_model(), "hf_quantizer", None):
            return False
        return not shares_adapted_weight(network)

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
        # Some prompts are computed when they are saved, and must be those that the run computed with. The vocabulary is
        # never changed; without the argument PEFT asks a hub whether it was.
        with self.model.computing():
            self.model.network.save_pretrained(str(folder), save_embedding_layers=False)


def shares_adapted_weight(network: Any) -> bool:
    """Whether an adapter lies on a layer whose weight is another layer's too."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [module.get_base_layer() for module in network.modules() if isinstance(module, BaseTunerLayer)]
    ours = {id(layer.weight) for layer in adapted if hasattr(layer, "weight")}
    owners = Counter(id(weight) for module in network.modules() for weight in module.parameters(recurse=False))
    return any(owners[weight] > 1 for weight in ours)


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
    _keep_types(model)
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
    _keep_types(model)
    return PeftTuned(model)


def _keep_types(model: LanguageModel) -> None:
    """PEFT casts a layer's input to the adapter's fp32, and autocast back again before it is multiplied."""
    model.gate.move_to(model.network.get_output_embeddings())
    if model.precision != "fp32":
        for module in model.network.modules():
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False
