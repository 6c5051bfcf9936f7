"""Does a method run here? A tiny random model goes forward and backward once, on a device, in a precision."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairtune.data import Encoded
from fairtune.methods.protocol import Course, Method, Tuned
from fairtune.study import Precision

if TYPE_CHECKING:
    import torch

# A multiple of every block that quantised kernels work on.
_WIDTH = 128
_TEXT = (1, 5, 9, 7, 3, 2)
# What a method that has no defaults for them needs to be tried.
_EXAMPLES: Mapping[str, dict[str, Any]] = {"peft": {"type": "lokr", "target_modules": ["q_proj"]}}


def probe(method: Method, device: torch.device, precision: Precision) -> str | None:
    """None where loading, attaching and one backward pass work and give finite gradients; else why not, in a line."""
    options = _EXAMPLES.get(method.name, {})
    with tempfile.TemporaryDirectory(prefix="fairtune-probe-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _one_step(method, method.options.model_validate(options).model_dump(), device, precision, Path(folder))
        except Exception as error:  # noqa: BLE001 - whatever a library or a driver says is the answer
            return f"{type(error).__name__}: {error}".split("\n")[0]
    return None


def _one_step(
    method: Method, options: Mapping[str, Any], device: torch.device, precision: Precision, folder: Path
) -> None:
    import torch

    tuned = method.attach(_tiny(folder, device, precision, method, options), options, Course(seed=0))
    if not method.trains:
        return
    supervised = (False, *[True] * (len(_TEXT) - 1))
    tuned.model.network.train()
    tuned.objective([Encoded("probe", _TEXT, supervised, 1, "")]).sum().backward()  # type: ignore[no-untyped-call]
    _require_gradients(tuned, torch)


def _require_gradients(tuned: Tuned, torch: Any) -> None:
    found = [weight.grad for weight in tuned.model.network.parameters() if weight.requires_grad]
    if not any(gradient is not None for gradient in found):
        raise RuntimeError("no gradient reaches what is trained")
    if not all(torch.isfinite(gradient).all() for gradient in found if gradient is not None):
        raise RuntimeError("a gradient is not finite")


def _tiny(folder: Path, device: torch.device, precision: Precision, method: Method, options: Mapping[str, Any]) -> Any:
    """A random Llama of two layers, saved and loaded as any model is."""
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
    from transformers.utils import logging

    from fairtune.models.load import load_model

    logging.disable_progress_bar()
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel(vocab={str(index): index for index in range(16)}, unk_token="0"))  # noqa: S106
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="2")  # noqa: S106
    return load_model(folder, tokenizer, precision, device, False, len(_TEXT), method.quantization(options, precision))
