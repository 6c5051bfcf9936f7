"""A local folder of safetensors as a model that is ready to be adapted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from fairtune.data import stop_tokens
from fairtune.errors import ModelError
from fairtune.models.device import written_out_attention
from fairtune.models.gate import OutputGate
from fairtune.models.kernels import keep_few_kernels
from fairtune.models.packable import prepare_batching
from fairtune.models.precision import WEIGHTS, compute_in
from fairtune.models.quantize import Quantization, keep_as_stored, let_go_of_files, load_arguments
from fairtune.models.rows import Batching
from fairtune.models.shape import keep_first_layers, positions
from fairtune.study import Precision


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
    virtual_tokens: int = 0
    """Positions that a method has put before every text."""
    batching: Batching = field(default_factory=Batching)
    """How texts are cut into micro-batches and laid out, where nothing speaks against it."""
    padded_because: str | None = None
    """Why texts have a row each, where they do."""
    drops: bool = False
    """Whether activations are dropped at random in training."""
    kind: str = ""
    """Of the device: its own, unless this model only stands for one that is elsewhere (plan/)."""
    room: int | None = None
    """Bytes beside the weights that may be used; None: whatever the device has free at the time."""

    def __post_init__(self) -> None:
        self.kind = self.kind or self.device.type

    @property
    def context(self) -> int | None:
        """Longest sequence in tokens, prompt and answer together; None if the model states none."""
        room = positions(self.network.config)
        return None if room is None else room - self.virtual_tokens

    @property
    def laid_out(self) -> str:
        """How texts lie when they are learned, scored and written, in words for a log."""
        if self.padded_because is not None:
            return f"texts have a row each, padded: {self.padded_because}"
        if not self.batching.branches:
            return (
                "texts lie end to end in one row while they are learned; beginnings are not kept for benchmarks and "
                "answers, which are padded: a text that is computed in two passes has other scores"
            )
        return "texts lie end to end in one row; what they begin with is computed once"

    @property
    def batching_now(self) -> Batching:
        """Texts that shared activations would share what is dropped of them."""
        alone = self.drops and self.network.training
        return replace(self.batching, share=False) if alone else self.batching

    def put_before(self, tokens: int) -> None:
        """A method puts virtual tokens before every text; each text then has a row of its own."""
        self.virtual_tokens = tokens
        self.batching = replace(self.batching, packed=False, branches=False)
        self.padded_because = "virtual tokens stand before every text"

    def save(self, folder: Path) -> None:
        """The whole model and its tokenizer, as ``save_pretrained`` lays them out."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.generation_defaults.save_pretrained(folder)

    def computing(self) -> AbstractContextManager[object]:
        """Matrix products in this run's precision."""
        return compute_in(self.precision, self.device)


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a local folder.

    Raises:
        ModelError: missing or not readable.
    """
    return from_folder(AutoTokenizer, folder, trust_remote_code)


def load_config(folder: Path, trust_remote_code: bool) -> Any:
    """transformers' configuration of a local folder.

    Raises:
        ModelError: missing or not readable.
    """
    return from_folder(AutoConfig, folder, trust_remote_code)


def load_model(
    folder: Path,
    tokenizer: Any,
    precision: Precision,
    device: torch.device,
    trust_remote_code: bool,
    longest: int,
    quantization: Quantization | None = None,
    first_layers: int | None = None,
) -> LanguageModel:
    """The weights of a local folder, in evaluation mode, on the device.

    Args:
        longest: tokens of the longest example of the study; decides how attention is computed.
        quantization: the code of the frozen weights, if not that of ``precision``.
        first_layers: keep so many transformer layers; None for all.

    Raises:
        ModelError: missing, not readable, or code of the model's own that was not allowed.
    """
    transformers_logging.disable_progress_bar()
    network, loaded = from_folder(
        AutoModelForCausalLM,
        folder,
        trust_remote_code,
        dtype=WEIGHTS[precision],
        use_safetensors=True,
        output_loading_info=True,
        **written_out_attention(device, longest),
        **load_arguments(quantization, device),
        **_kept_layers(folder, trust_remote_code, first_layers),
    )
    if loaded["missing_keys"]:
        raise ModelError(
            f"{folder}: the weights lack {', '.join(sorted(loaded['missing_keys'])[:3])}, and would be random. "
            "Was the model saved for another purpose than generating text?"
        )
    if quantization is not None and device.type == "cpu":
        let_go_of_files(network)
    return ready(network, tokenizer, precision, device)


def ready(
    network: Any,
    tokenizer: Any,
    precision: Precision,
    device: torch.device,
    prepare: Callable[[LanguageModel], None] = prepare_batching,
) -> LanguageModel:
    """A network of transformers, from wherever it came, frozen, on the device, answering greedily.

    Args:
        prepare: finds out how texts may be laid out.
    """
    keep_few_kernels()
    network.requires_grad_(False)
    keep_as_stored(network)
    network.to(device).eval()
    # transformers fills what a request leaves open from the model's own defaults: a repetition penalty, say. Greedy
    # must mean greedy, so only the end tokens are taken from there.
    defaults = network.generation_config or GenerationConfig()
    network.generation_config = GenerationConfig()
    gate = OutputGate(network.get_output_embeddings())
    model = LanguageModel(
        network, tokenizer, device, precision, stop_tokens(tokenizer, defaults.eos_token_id), gate, defaults
    )
    prepare(model)
    return model


def _kept_layers(folder: Path, trust_remote_code: bool, count: int | None) -> dict[str, Any]:
    """The configuration of a model that ends after its first layers; the weights of the rest are then not read."""
    if count is None:
        return {}
    return {"config": keep_first_layers(load_config(folder, trust_remote_code), count)}


def from_folder(kind: Any, folder: Path, trust_remote_code: bool, **options: Any) -> Any:
    """What one of transformers' Auto classes reads in a local folder.

    Raises:
        ModelError: missing, not readable, or code of the model's own that was not allowed.
    """
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
