"""A local folder of safetensors as a model that is ready to be adapted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from fairtune.data import stop_tokens
from fairtune.errors import ModelError
from fairtune.models.gate import OutputGate
from fairtune.models.precision import DTYPES, compute_in
from fairtune.models.quantize import Quantization, keep_as_stored, load_arguments
from fairtune.study import Precision

# On a CPU, attention that is written out beats the fused kernel's backward up to about this length
# (SmolLM2-135M, 16 rows of 34 tokens: 1.9 s fused, 1.4 s written out); its memory grows with the square.
_WRITTEN_OUT_UP_TO = 512


@dataclass
class LanguageModel:
    """A model with what is needed to use it. ``network`` is what a method wraps and trains."""

    network: Any
    tokenizer: Any
    device: torch.device
    precision: Precision
    stops: list[int]
    gate: OutputGate
    generation_defaults: Any
    """How the model's makers would sample from it; saved with a tuned model, never used for scores."""
    load_network: Callable[[Path], Any]
    """Loads a network from a folder as this one was loaded: device, precision, attention."""
    virtual_tokens: int = 0
    """Positions that a method has put before every text."""

    @property
    def context(self) -> int | None:
        """Longest sequence in tokens, prompt and answer together; None if the model states none."""
        text_config = self.network.config.get_text_config()
        positions = getattr(text_config, "max_position_embeddings", None)
        return None if positions is None else positions - self.virtual_tokens

    def replace_network(self, folder: Path) -> None:
        """Puts the network that was saved in a folder in place of this one, loaded the same way."""
        self.network = self.load_network(folder)
        self.gate.move_to(self.network.get_output_embeddings())

    def computing(self) -> AbstractContextManager[object]:
        """Matrix products in this run's precision."""
        return compute_in(self.precision, self.device)


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a local folder.

    Raises:
        ModelError: missing or not readable.
    """
    return _load(AutoTokenizer, folder, trust_remote_code)


def load_model(
    folder: Path,
    tokenizer: Any,
    precision: Precision,
    device: torch.device,
    trust_remote_code: bool,
    longest: int,
    quantization: Quantization | None = None,
) -> LanguageModel:
    """The weights of a local folder, in evaluation mode, on the device.

    Args:
        longest: tokens of the longest example of the study; decides how attention is computed.
        quantization: the code of the frozen weights, if not that of ``precision``.

    Raises:
        ModelError: missing, not readable, or code of the model's own that was not allowed.
    """
    transformers_logging.disable_progress_bar()
    written_out = device.type == "cpu" and longest <= _WRITTEN_OUT_UP_TO
    attention: dict[str, Any] = (
        {"attn_implementation": "eager"} if written_out else {}
    )  # elsewhere transformers knows best
    arguments = {"dtype": DTYPES[precision], **attention, **load_arguments(quantization, device)}

    def load_network(place: Path) -> Any:
        return _load_network(place, device, trust_remote_code, **arguments)

    network = load_network(folder)
    # transformers fills what a request leaves open from the model's own defaults: a repetition penalty, say. Greedy
    # must mean greedy, so only the end tokens are taken from there.
    defaults = network.generation_config or GenerationConfig()
    network.generation_config = GenerationConfig()
    gate = OutputGate(network.get_output_embeddings())
    stops = stop_tokens(tokenizer, defaults.eos_token_id)
    return LanguageModel(network, tokenizer, device, precision, stops, gate, defaults, load_network)


def _load_network(folder: Path, device: torch.device, trust_remote_code: bool, **arguments: Any) -> Any:
    network, loaded = _load(
        AutoModelForCausalLM,
        folder,
        trust_remote_code,
        use_safetensors=True,
        output_loading_info=True,
        **arguments,
    )
    if loaded["missing_keys"]:
        raise ModelError(
            f"{folder}: the weights lack {', '.join(sorted(loaded['missing_keys'])[:3])}, and would be random. "
            "Was the model saved for another purpose than generating text?"
        )
    network.requires_grad_(False)
    keep_as_stored(network)
    return network.to(device).eval()


def _load(kind: Any, folder: Path, trust_remote_code: bool, **options: Any) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trust_remote_code, **options)
    except MemoryError:
        raise
    except Exception as error:  # readers of other people's files, in Python and Rust, raise what they like
        if "memory" in str(error).lower():
            raise
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{folder}: the model needs Python code of its own. Read it; if you trust it, write "
                "`models: [{source: …, trust_remote_code: true}]`"
            ) from error
        raise ModelError(f"{folder}: cannot be loaded: {error}") from error
